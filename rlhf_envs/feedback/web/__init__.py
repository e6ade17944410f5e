"""The web page: people answer the queries of a store from any browser, each by a personal link.

Needs the extra `web` (FastAPI and uvicorn), which is imported only when a page is really made.
"""

from rlhf_envs.feedback.web.serving import create_app, serve, serve_several

__all__ = ["create_app", "serve", "serve_several"]
