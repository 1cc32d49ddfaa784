"""What the pages are made of, and their refusals: the same for everybody."""

from typing import Final

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import Response

from api_shim.http.pages.render import asset

router: Final = APIRouter(include_in_schema=False)


@router.get("/assets/{name}")
async def get_asset(name: str) -> Response:
    """The style sheet, the script, the icon."""
    if (found := asset(name)) is None:
        raise HTTPException(404)
    return found
