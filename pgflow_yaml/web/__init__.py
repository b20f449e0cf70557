"""The web view: pages about runs, live, with actions (`pgflow-yaml ui`, the extra `ui`).

An application of yours mounts it: `app.mount("/flows", create_app(dsn, authorize=who))`.
"""

from __future__ import annotations

from pgflow_yaml.web.access import User
from pgflow_yaml.web.app import WebView, create_app

__all__ = ["User", "WebView", "create_app"]
