"""The pages that people read: README, CONTRIBUTING, docs/, and what is in them."""

import pathlib
import re
import shlex

ROOT = pathlib.Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")
PATHS = (
    *(ROOT / "README.md", ROOT / "CONTRIBUTING.md"),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "results").glob("*/README.md")),
)
TEXTS = {str(path.relative_to(ROOT)): path.read_text() for path in PATHS}


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return [text for name, text in FENCE.findall(TEXTS[page]) if name == language]


def prose(page: str) -> str:
    """A page without its fenced blocks."""
    return FENCE.sub("", TEXTS[page])


def anchors(page: str) -> set[str]:
    """What a link to a heading of a page may name, as GitHub makes it."""
    titles = [re.sub(r"[`*]", "", title) for title in HEADING.findall(prose(page))]
    return {
        re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")
        for title in titles
    }


def commands(page: str) -> list[list[str]]:
    """The words of each command of the shell blocks, without the interpreter."""
    found = []
    for block in blocks(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            line = re.sub(r"^for \w+ in .*?; do (.*); done$", r"\1", line)
            line = line.replace("--seed $s", "--seed 1")
            words = shlex.split(line, comments=True)
            while words:
                end = words.index("&&") if "&&" in words else len(words)
                command, words = words[:end], words[end + 1 :]
                while re.fullmatch(r"[A-Z_]+=\S*", command[0]):
                    command = command[1:]  # a variable of the environment
                if re.fullmatch(r"(.*/)?python3?", command[0]):
                    command = command[2:] if command[1] == "-m" else command[1:]
                found.append(command)
    return found
