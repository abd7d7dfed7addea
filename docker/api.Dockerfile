# The API and the migrations: inference on the CPU with onnxruntime, no torch.
# Build from the top of the repository: docker build -f docker/api.Dockerfile .
ARG PYTHON_IMAGE=python:3.11.16-slim-trixie

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/thawline
WORKDIR /src
# First the dependencies alone (the project without its packages), so that a change of code does not install them anew.
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN /opt/thawline/bin/pip install -c constraints.txt ".[cpu]"
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
ENV PATH=/opt/thawline/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    THAWLINE_HOME=/var/lib/thawline
WORKDIR /app
USER 10001:10001
EXPOSE 8000
CMD ["thawline", "api"]
