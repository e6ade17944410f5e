"""The web page: people answer the queries of a store from any browser, each by a personal link.

Needs the extra `web` (FastAPI, uvicorn and segno), which is imported only when a page is really made.
"""

from rlhf_envs.feedback.web.serving import (
    NotebookPage,
    checked_url,
    create_app,
    serve,
    serve_several,
    show_page,
)

__all__ = ["NotebookPage", "checked_url", "create_app", "serve", "serve_several", "show_page"]
