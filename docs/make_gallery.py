"""Write the gallery: the montages and the numbers of finished work folders, from their reports.

python docs/make_gallery.py work/hippocampus work/lesions work/brain-mini-smoke work/demo
"""

import base64
import json
import re
import sys
from pathlib import Path

from vcmaug.downstream.results import read_summary

HERE = Path(__file__).parent
FIGURE = re.compile(
    r"<figcaption>(?P<caption>[^<]*)</figcaption>\s*(?:<[^>]*>\s*)*?"
    r'<img[^>]*src="data:image/png;base64,(?P<png>[^"]+)"'
)


def section(work: Path) -> list[str]:
    """Return the gallery's lines about one work folder, its pictures written."""
    recipe = json.loads((work / "recipe.json").read_text())
    name = "-".join(part for part in (recipe["name"], recipe["profile"]) if part)
    lines = [f"## {recipe['title']}", "", f"`{name}`. {recipe['recipe']['caveat']}".rstrip(), ""]
    for number, found in enumerate(FIGURE.finditer((work / "report.html").read_text())):
        picture = HERE / "gallery" / f"{name}-{number}.png"
        picture.parent.mkdir(exist_ok=True)
        picture.write_bytes(base64.b64decode(found["png"]))
        lines += [f"{found['caption']}", "", f"![{found['caption']}](gallery/{picture.name})", ""]
    return lines + outcome(work)


def outcome(work: Path) -> list[str]:
    """Return adherence and paired differences, as the run measured them."""
    file = min(work.glob("replicates/*/quality/quality.json"))
    quality = json.loads(file.read_text())
    summary = read_summary(work / "study" / "summary.json")
    lines = ["| measured | value |", "|---|---|"]
    for row in quality["adherence"]:
        if row["structure"] == "mean":
            what = f"adherence of {file.parts[-3]}, mean Dice, {row['source']} images"
            lines.append(f"| {what} | {row['dice']:.3f} |")
    for row in summary.differences:
        if row.metric == "dice":
            what = f"Dice, {row.arm} against {row.against}, n = {row.num_labelled}"
            mean, low, high = summary.rounded(row, "+")
            lines.append(f"| {what} | {mean} [{low}, {high}]; {summary.verdict(row)} |")
    return [*lines, ""]


def main() -> None:
    """Write docs/gallery.md."""
    lines = [
        "# Gallery",
        "",
        "Pictures and numbers from the runs, chosen by a hash or by adherence, not by eye.",
        "Only `hippocampus` is a study with gates, and its result is in its log; the others show",
        "that every step works and are no evidence about the method.",
        "",
    ]
    for name in sys.argv[1:]:
        lines += section(Path(name))
    (HERE / "gallery.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
