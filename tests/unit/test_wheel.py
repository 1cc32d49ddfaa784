"""What the server's wheel brings beside its code."""

from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[2]
PAGES = Path("api_shim", "http", "pages")


def test_wheel_has_the_pages_templates_and_assets() -> None:
    packed = {Path(file.distribution_path) for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    made_of = [*(ROOT / PAGES / "templates").iterdir(), *(ROOT / PAGES / "assets").iterdir()]
    assert len(made_of) > 5
    assert {file.relative_to(ROOT) for file in made_of} <= packed
