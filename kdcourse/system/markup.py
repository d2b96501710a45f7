"""Names as they are written: whatever a class, a file or a sentence holds, no page takes any of it for markup.

HTML is not all that a page reads: Jupyter and exported pages look through its text for formulas, between dollars and after
backslashes. Such a sign in an element of its own begins none.
"""

import html
import re

FORMULAS = re.compile(r"[$\\]")
# Signs that Markdown reads, and those that make an address a link, which it looks for after its own signs are read.
MARKDOWN = re.compile(r"""[`*_{}\[\]<>()#+!|~^&=]|^[-\d]""")
LINKS = re.compile(r"[$\\@]|:(?=\S)|(?<=www)\.", re.IGNORECASE)


def in_html(text: str) -> str:
    """The text for a page, between its tags; for an attribute `html.escape` does."""
    return FORMULAS.sub(_alone, html.escape(str(text)))


def verbatim(text: str) -> str:
    """A name for a sentence in Markdown, as `kd.say` takes it: it shows as it is written, in one line, and marks up nothing."""
    signs = MARKDOWN.sub(lambda sign: f"&#{ord(sign[0])};", " ".join(str(text).split()))
    return LINKS.sub(_alone, signs)


def plain(markdown: str) -> str:
    """Markdown with its `verbatim` names as they were, for a terminal."""
    return re.sub(r"&#(\d+);", lambda sign: chr(int(sign[1])), re.sub(r"<span>(.*?)</span>", r"\1", markdown))


def _alone(sign: re.Match) -> str:
    return f"<span>&#{ord(sign[0])};</span>"
