"""What runs inside the peers' environments, as scripts: none of it imports Thawline, which is not installed there."""
