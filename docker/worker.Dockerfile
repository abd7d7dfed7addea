# The worker: everything of the API's image, and torch and transformers to train with.
# Build from the top of the repository: docker build -f docker/worker.Dockerfile .
ARG PYTHON_IMAGE=python:3.11.16-slim-trixie

FROM ${PYTHON_IMAGE} AS build
# `cpu,worker` or `gpu,worker`: which onnxruntime comes along.
ARG EXTRAS=cpu,worker
# A further package index to look for torch in; empty: the configured one alone. On Linux the torch found there
# usually brings the CUDA libraries along (some GiB). Give the address of PyTorch's index of CPU builds for a much
# smaller image, or of its index for another CUDA version than the default one.
ARG TORCH_INDEX_URL=
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/thawline
WORKDIR /src
# First the dependencies alone (the project without its packages), so that a change of code does not install them anew.
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN /opt/thawline/bin/pip install -c constraints.txt \
        ${TORCH_INDEX_URL:+--extra-index-url "${TORCH_INDEX_URL}"} ".[${EXTRAS}]"
COPY api api
COPY worker worker
COPY models_store models_store
COPY migrations migrations
RUN /opt/thawline/bin/pip install --no-deps --force-reinstall .

FROM ${PYTHON_IMAGE}
RUN groupadd --gid 10001 thawline \
    && useradd --no-log-init --uid 10001 --gid 10001 --no-create-home \
        --home-dir /var/lib/thawline --shell /usr/sbin/nologin thawline \
    && install --directory --owner=10001 --group=10001 --mode=0750 /var/lib/thawline
COPY --from=build /opt/thawline /opt/thawline
# Encoders come from the image and from a folder, never from a hub.
ENV PATH=/opt/thawline/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HF_HUB_OFFLINE=1 \
    THAWLINE_HOME=/var/lib/thawline
WORKDIR /app
USER 10001:10001
CMD ["thawline", "worker"]
