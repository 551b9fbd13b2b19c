"""Reading the rows of a table: a CSV file, or a SQL dump of PostgreSQL, MySQL or SQLite."""

import csv
import io
import re
from collections.abc import Iterator

from oneself.commands.administration.user_files.row import MalformedFile

TableRow = tuple[str, dict[str, str]]

_COPY = re.compile(r'^COPY (?P<table>[\w."]+) \((?P<columns>[^)]*)\) FROM stdin;\s*$', re.MULTILINE)
_INSERT = re.compile(
    r'^INSERT INTO (?P<table>[\w."`]+) \((?P<columns>[^)]*)\) VALUES\s*',
    re.MULTILINE | re.IGNORECASE,
)
_QUOTES = str.maketrans("", "", '"`')
_ESCAPED = re.compile(r"\\(.)")
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0"}
#: One value of a tuple, and the sign after it.
_VALUE = re.compile(
    r"\s*(?:E?'(?P<text>(?:[^'\\]|''|\\.)*)'(?:::\w+)?|(?P<word>[^,()']*))\s*(?P<sign>[,)])",
    re.DOTALL,
)


def read_table(content: str, table: str) -> Iterator[TableRow]:
    """Yield the rows of a CSV file, or of one table of a SQL dump; NULL is an empty text.

    Raises:
        MalformedFile: It is neither, or has no such table.
    """
    if _COPY.search(content) or _INSERT.search(content):
        yield from _read_dump(content, table)
    else:
        yield from read_csv(content)


def read_csv(content: str) -> Iterator[TableRow]:
    """Yield the rows of a CSV file with a header, each with its last line.

    Raises:
        MalformedFile: It is not such a file.
    """
    reader = csv.DictReader(io.StringIO(content, newline=""), strict=True)
    try:
        for row in reader:
            place = f"line {reader.line_num}"
            if None in row or None in row.values():
                raise MalformedFile(f", {place}: the number of fields differs from the header.")
            yield place, row
    except csv.Error as error:
        raise MalformedFile(f" is not a CSV file in UTF-8 ({type(error).__name__}).") from None


def _read_dump(content: str, table: str) -> Iterator[TableRow]:
    found = False
    for match in _COPY.finditer(content):
        if _is(match["table"], table):
            found = True
            yield from _read_copy(content, match)
    for match in _INSERT.finditer(content):
        if _is(match["table"], table):
            found = True
            yield from _read_insert(content, match)
    if not found:
        raise MalformedFile(f" has no rows of a table {table}.")


def _is(name: str, table: str) -> bool:
    plain = name.translate(_QUOTES)
    return plain == table or plain.rpartition(".")[2] == table


def _columns(match: re.Match[str]) -> list[str]:
    return [name.strip().translate(_QUOTES) for name in match["columns"].split(",")]


def _read_copy(content: str, match: re.Match[str]) -> Iterator[TableRow]:
    columns = _columns(match)
    first = content.count("\n", 0, match.end()) + 2
    for number, line in enumerate(content[match.end() :].lstrip("\n").split("\n"), first):
        if line == "\\.":
            return
        values = [
            "" if value == "\\N" else _unescape(value) for value in line.rstrip("\r").split("\t")
        ]
        if len(values) != len(columns):
            raise MalformedFile(f", line {number}: the number of values differs from the columns.")
        yield f"line {number}", dict(zip(columns, values, strict=True))


def _read_insert(content: str, match: re.Match[str]) -> Iterator[TableRow]:
    columns = _columns(match)
    position, line, counted = match.end(), content.count("\n", 0, match.end()) + 1, match.end()
    while content[position : position + 1] == "(":
        line += content.count("\n", counted, position)
        counted = position
        values = []
        sign, position = ",", position + 1
        while sign == ",":
            value = _VALUE.match(content, position)
            if value is None:
                raise MalformedFile(f", line {line}: a value cannot be read.")
            values.append(_plain(value))
            sign, position = value["sign"], value.end()
        if len(values) != len(columns):
            raise MalformedFile(f", line {line}: the number of values differs from the columns.")
        yield f"line {line}", dict(zip(columns, values, strict=True))
        after = re.compile(r"\s*,?\s*").match(content, position)
        position = after.end() if after else position


def _plain(value: re.Match[str]) -> str:
    if value["text"] is not None:
        return _unescape(value["text"].replace("''", "'"))
    word = value["word"].strip()
    return "" if word.upper() == "NULL" else word


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    return _ESCAPED.sub(lambda match: _CONTROLS.get(match[1], match[1]), text)
