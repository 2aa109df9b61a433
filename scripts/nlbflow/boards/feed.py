"""An Atom feed (RFC 4287) of changes, an entry for each new build.

By the standard library, because feedgen brings lxml for these few elements.
"""

import os
import re
import uuid
from pathlib import Path
from xml.etree import ElementTree

from nlbflow import __version__
from nlbflow.errors import NlbflowError

ATOM = "http://www.w3.org/2005/Atom"
# every id is made in here, from what it is of, so that it is the same whenever it is made
IDS = uuid.uuid5(uuid.NAMESPACE_URL, "nlbflow changes")
TITLE, AUTHOR = "Changes of the leaderboards", f"nlbflow {__version__}"
# what XML 1.0 does not allow
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# The oldest are dropped, because readers fetch the whole file each time.
MOST_ENTRIES = 50

ElementTree.register_namespace("", ATOM)


def add_entry(path: Path, of: str, about: str, title: str, shown: str, updated: str) -> None:
    """Add an entry to a feed, which is made where there is none; the file is whole at every moment.

    Args:
        path: the feed. An entry about the same is replaced.
        of: what the feed is of; its id is made from this when the feed is made.
        about: what the entry is about; its id is made from this.
        title: one line.
        shown: HTML, since readers break plain text anew.
        updated: a date such as 2026-01-31T12:00:00Z.

    Raises:
        NlbflowError: the file is there and is no Atom feed, or it cannot be written.
    """
    feed = _read(path) if path.exists() else _new(of)
    entry = ElementTree.Element(f"{{{ATOM}}}entry")
    _put(entry, "id", _id(about))
    _put(entry, "title", title)
    _put(entry, "updated", updated)
    _put(entry, "content", shown, type="html")
    others = feed.findall(f"{{{ATOM}}}entry")
    for other in others:
        feed.remove(other)
    kept = [other for other in others if other.findtext(f"{{{ATOM}}}id") != _id(about)]
    entries = sorted([entry, *kept], key=lambda one: one.findtext(f"{{{ATOM}}}updated") or "", reverse=True)
    feed.find(f"{{{ATOM}}}updated").text = entries[0].findtext(f"{{{ATOM}}}updated")
    feed.extend(entries[:MOST_ENTRIES])
    ElementTree.indent(feed, " ")
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(ElementTree.tostring(feed, encoding="utf-8", xml_declaration=True) + b"\n")
        os.replace(unfinished, path)
    except OSError as error:
        raise NlbflowError(f"{path} cannot be written ({error.strerror}); name another file for the feed.") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _new(of: str) -> ElementTree.Element:
    feed = ElementTree.Element(f"{{{ATOM}}}feed")
    _put(feed, "id", _id(of))
    _put(feed, "title", TITLE)
    _put(feed, "updated", "")
    _put(_put(feed, "author", ""), "name", AUTHOR)
    return feed


def _read(path: Path) -> ElementTree.Element:
    try:
        feed = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, OSError, ValueError) as error:
        raise NlbflowError(f"{path} cannot be read as XML ({error}); name another file for the feed.") from error
    needed = [f"{{{ATOM}}}{name}" for name in ("id", "title", "updated")]
    if feed.tag != f"{{{ATOM}}}feed" or any(feed.find(name) is None for name in needed):
        raise NlbflowError(
            f"{path} is no Atom feed with id, title and updated (found <{feed.tag}>); name another file for the feed."
        )
    return feed


def _put(parent: ElementTree.Element, name: str, text: str, **attributes: str) -> ElementTree.Element:
    child = ElementTree.SubElement(parent, f"{{{ATOM}}}{name}", attributes)
    child.text = FORBIDDEN.sub("\ufffd", text)
    return child


def _id(of: str) -> str:
    return uuid.uuid5(IDS, of).urn
