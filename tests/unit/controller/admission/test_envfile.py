"""Files of variables, as `docker run --env-file` reads them."""

import pytest

from controller.admission.envfile import LIMIT, parse_env_file


def test_lines_are_names_and_values_kept_as_they_are() -> None:
    data = b"\xef\xbb\xbf# comment\n\nA=1\r\n  B= two words \nEQ=a=b\nEMPTY=\n   # indented\nA=2\n"
    data += b'QUOTED="x"\nU=\xc3\xbc#no comment'
    found, problems = parse_env_file(data)
    assert problems == []
    assert found == {"A": "2", "B": " two words ", "QUOTED": '"x"', "EQ": "a=b", "EMPTY": "", "U": "ü#no comment"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"=x", "has no name"),
        (b"ONLY", "has no '=' after 'ONLY'"),
        (b"A B=x", "white space in the name"),
        (b"export A=x", "white space in the name"),
        (b"A\x1b=x", "cannot be printed"),
        (b"A=\xff", "is not UTF-8"),
        (b"A=x\0y", "has a NUL character"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(line: bytes, words: str) -> None:
    found, problems = parse_env_file(b"GOOD=1\n\n" + line + b"\nALSO=2\n")
    assert found == {"GOOD": "1", "ALSO": "2"}
    ((number, message),) = problems
    assert number == 3
    assert words in message


def test_a_file_that_is_too_large_is_not_read() -> None:
    assert parse_env_file(b"A=" + b"x" * LIMIT)[1]
