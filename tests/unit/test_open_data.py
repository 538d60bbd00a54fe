"""The open data sets: what their readers keep, and that no split knows another or gives a label away."""

from __future__ import annotations

import os
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import archives
import prepared
from lra.core.errors import LRAError
from lra.data import enwik8, mail
from lra.data.near_duplicates import groups
from lra.data.recipe import Archive
from prepared import texts
from tiny import examples

PINNED = Archive(file="x", urls=["http://localhost/x"], package="npm:xx@1.0", sha256="0" * 64)
WORDS = [f"word{number}" for number in range(3000)]


@pytest.fixture
def rng():
    seed = int.from_bytes(os.urandom(4))
    print(f"drawn by seed {seed}")
    return np.random.default_rng(seed)


def prepare(archive, out, source, sizes, **options):
    return prepared.prepare(archive, out, source, sizes, pinned=PINNED, options=options)


def refused(archive, out, source, sizes, **options) -> str:
    return prepared.refused(archive, out, source, sizes, pinned=PINNED, options=options)


def sentence(rng, words=30) -> str:
    return " ".join(rng.choice(WORDS, words))


# Fashion-MNIST


def test_fashion_is_padded_to_32_and_the_same_from_both_origins(tmp_path, rng):
    files, pixels = archives.fashion(40, 10, rng)
    tar = archives.tar(tmp_path / "a.tar.gz", files)
    deb = archives.deb(tmp_path / "a.deb", {f"fashion-mnist/{n.split('/')[-1]}": c
                                            for n, c in files.items()})  # fmt: skip
    splits = prepare(tar, tmp_path / "tar", "fashion", (30, 10, 10))
    prepare(deb, tmp_path / "deb", "fashion", (30, 10, 10))
    for name in ("train.arrow", "val.arrow", "test.arrow", "dataset.json"):
        assert (tmp_path / "tar" / name).read_bytes() == (tmp_path / "deb" / name).read_bytes()
    grids = [split.towers[0].values.reshape(-1, 32, 32) for split in splits]
    assert (grids[2][:, 2:30, 2:30] == pixels[40:]).all()
    assert splits[2].labels.tolist() == list(range(10))
    place = {image.tobytes(): number for number, image in enumerate(pixels)}
    for grid, split in zip(grids, splits, strict=True):
        assert grid.sum() == grid[:, 2:30, 2:30].sum()
        numbers = [place.pop(image.tobytes()) for image in grid[:, 2:30, 2:30]]  # none twice
        assert [number % 10 for number in numbers] == [(n - 40 * (n >= 40)) % 10 for n in numbers]
        if split is not splits[2]:
            assert split.labels.tolist() == [number % 10 for number in numbers]
    assert place == {}


@pytest.mark.parametrize(("name", "content", "said"), [
    ("t10k-images-idx3-ubyte", None, "t10k-images-idx3-ubyte: is missing"),
    ("t10k-images-idx3-ubyte", b"\0\0\10\3", "not in MNIST's format: malformed (buffer is smaller"),
    ("train-labels-idx1-ubyte", b"\0\0\10\1\0\0\0\2\1\1", "train: 40 images, but 2 labels"),
    ("train-labels-idx1-ubyte", b"\0\0\10\1\0\0\0\2\1", "malformed (cannot reshape array"),
    ("train-labels-idx1-ubyte", b"\0\0\10\3\0\0\0\1\1", "malformed (its header is 2051 1)"),
    ("t10k-labels-idx1-ubyte", b"\0\0\10\1\0\0\0\12" + b"\12" * 10, "has label 10; labels are 0 to"),
])  # fmt: skip
def test_a_bad_file_of_fashion_is_one_line(tmp_path, rng, name, content, said):
    files, _ = archives.fashion(40, 10, rng)
    files = {n: c for n, c in files.items() if name not in n}
    if content is not None:
        files[f"x/{name}"] = content
    archive = archives.tar(tmp_path / "a.tar.gz", files)
    assert said in refused(archive, tmp_path / "out", "fashion", (30, 10, 10))


def test_other_content_than_the_pinned_one_is_one_line_and_the_archive_stays(tmp_path, rng):
    archive = archives.tar(tmp_path / "a.tar.gz", archives.fashion(40, 10, rng)[0])
    line = refused(archive, tmp_path / "out", "fashion", (30, 10, 10), content="a" * 64)
    assert line.startswith(f"{archive}: what it holds has sha256 ")
    found = line.split("sha256 ")[1][:64]
    prepare(archive, tmp_path / "out", "fashion", (30, 10, 10), content=found)


# Mails


def a_mail(text: str, html: bool = False, header: str = "") -> bytes:
    kind = "text/html" if html else "text/plain"
    return f"Subject: hidden\r\nContent-Type: {kind}\r\n{header}\r\n{text}".encode()


def corpus(rng, ham=60, spam=40):
    """Mails of both kinds; every tenth spam was sent three times with another number in it."""
    found = [("easy-ham-1", a_mail(sentence(rng))) for _ in range(ham)]
    for number in range(spam):
        text = sentence(rng)
        copies = 3 if number % 10 == 0 else 1
        found += [("spam-2", a_mail(f"{text} number {rng.integers(10**9)}")) for _ in range(copies)]
    return found


def test_mails_have_no_headers_and_splits_are_balanced_and_share_no_near_duplicate(tmp_path, rng):
    found = corpus(rng)
    archive = archives.tar(tmp_path / "m.tgz", archives.mails(found))
    train, val, test = splits = prepare(archive, tmp_path / "out", "mail", (68, 10, 30))
    assert (val.labels.mean(), test.labels.mean()) == (0.5, 0.5)
    kinds = {content.partition(b"\r\n\r\n")[2]: group == "spam-2" for group, content in found}
    shown = [text for split in splits for text in texts(split)]
    assert sorted(shown) == sorted(kinds)
    for split in splits:
        assert [kinds[text] for text in texts(split)] == split.labels.tolist()
    homes: dict[bytes, set] = {}
    for number, split in enumerate(splits):
        for text in texts(split):
            homes.setdefault(text.partition(b" number")[0], set()).add(number)
    assert {len(home) for home in homes.values()} == {1}
    assert len(homes) < len(shown)


def test_a_text_of_several_mails_is_one_example_and_none_where_they_disagree(tmp_path, rng):
    found = corpus(rng)
    both = a_mail("the very same text in mails of both kinds")
    twice = a_mail("a text that two mails have")
    found += [("hard-ham-1", both), ("spam-1", both), ("hard-ham-1", twice), ("easy-ham-2", twice)]
    found += [("easy-ham-1", a_mail("  \r\n ")), ("easy-ham-1", b"")]
    archive = archives.tar(tmp_path / "m.tgz", archives.mails(found))
    shown = [t for s in prepare(archive, tmp_path / "out", "mail", (69, 10, 30)) for t in texts(s)]
    assert shown.count(b"a text that two mails have") == 1
    assert not [text for text in shown if b"both kinds" in text or not text]


def test_near_duplicates_are_judged_by_what_is_kept(tmp_path, rng):
    same = sentence(rng, 12)
    found = corpus(rng) + [("easy-ham-1", a_mail(f"{same} {sentence(rng, 200)}")) for _ in range(9)]
    archive = archives.tar(tmp_path / "m.tgz", archives.mails(found))
    splits = prepare(archive, tmp_path / "out", "mail", (87, 6, 8), max_length=len(same))
    assert [text for split in splits for text in texts(split)].count(same.encode()) == 1


@pytest.mark.parametrize(("content", "expected"), [
    (a_mail("<html><title>t</title><style>p {}</style><p>One &amp; two</p><b>three</b>", html=True),
     b"One & two\nthree"),
    (a_mail("one\r\n\r\n\r\n  two\t three "), b"one\ntwo three"),
    (a_mail("b25l", header="Content-Transfer-Encoding: base64\r\n"), b"one"),
    (a_mail("=E9t=E9", header="Content-Transfer-Encoding: quoted-printable\r\n"),
     "été".encode()),
    (b'Content-Type: text/plain; charset="no-such"\n\n\xe9t\xe9', "été".encode()),
    (b'Content-Type: text/plain; charset="ks\0c"\n\n\xff', "ÿ".encode()),
    (b"Content-Type: multipart/alternative; boundary=B\n\n--B\nContent-Type: text/html\n\n<p>no\n"
     b"--B\nContent-Type: text/plain\n\nyes\n--B\nContent-Type: image/gif\n\nno\n--B--\n", b"yes"),
], ids=["html", "lines", "base64", "quoted", "charset", "odd charset", "parts"])  # fmt: skip
def test_what_a_reader_sees_of_a_mail_is_kept(content, expected):
    assert mail.body(content) == expected


def test_an_archive_without_mails_is_one_line(tmp_path):
    archive = archives.tar(tmp_path / "m.tgz", archives.mails([]))
    assert refused(archive, tmp_path / "out", "mail", (1, 1, 1)) == f"{archive}: has no mails"


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=6), min_size=1, max_size=12))
def test_groups_are_those_of_all_pairs(drawn):
    """Against sets of shingles in Python."""
    documents = [" ".join(words).encode() for words in drawn]
    sets = [{tuple(w[i : i + 3]) for i in range(len(w) - 2)} for w in drawn]
    near = [
        [a == b or len(s & t) >= 0.5 * max(len(s | t), 1) for b, t in zip(drawn, sets, strict=True)]
        for a, s in zip(drawn, sets, strict=True)
    ]
    expected = np.linalg.matrix_power(np.array(near, np.int64), len(drawn)) > 0
    found = groups(documents, 0.5)
    assert ((found[:, None] == found) == expected).all()


# Articles


def wiki(rng, count=80, hubs=4):
    """Articles with links to about a fifth of the others, also as redirects, with anchors."""
    titles = [f"Topic{'abcdefghij'[n % 10]}{n} (thing)" for n in range(count)]
    articles = {f"Old {title}": f"#REDIRECT [[{title}]]" for title in titles[:hubs]}
    chosen = {}
    for number, title in enumerate(titles):
        targets = {titles[t] for t in rng.choice(count, count // 5, replace=False)} - {title}
        chosen[title] = targets | {titles[0]} - {title}
        links = []
        for target in sorted(targets):
            name = f"Old {target}" if target in titles[:hubs] else target
            anchor = name.partition(" (")[0]
            form = [f"[[{name}]]", f"[[{name}#x|the {anchor}s]] {anchor}",
                    f"[[{name[0].lower()}{name[1:]}|odd {anchor}]] and odd {anchor}"]  # fmt: skip
            links += [form[int(rng.integers(3))], sentence(rng, 3)]
        plain = " ".join(name.partition(" (")[0] for name in rng.choice(titles, count // 2))
        articles[title] = (f"'''{title}''' & {number}. [[Image:x|[[{titles[0]}]] below]] "
                           f"{sentence(rng, 20)} {plain} {' '.join(links)} {sentence(rng, 100)}")  # fmt: skip
    articles["Short"] = f"[[{titles[0]}]]"
    articles["Wikipedia:About"] = sentence(rng, 300)
    return articles, chosen


PAIRS = {"min_length": 500, "max_length": 1000}


def test_pairs_share_no_article_between_splits_and_titles_and_links_are_masked(tmp_path, rng):
    articles, chosen = wiki(rng)
    archive = archives.tar(tmp_path / "w.tgz", {"x-1/data/enwik8.gz": archives.gzipped(articles)})
    splits = prepare(archive, tmp_path / "out", "enwik8_links", (200, 14, 30), **PAIRS)
    # an article is told by its number: it is in no other text
    numbers = {f"& {number}. ".encode(): title for number, title in enumerate(chosen)}
    seen = []
    for split in splits:
        own, pairs = set(), []
        for a, b, label in zip(texts(split), texts(split, 1), split.labels, strict=True):
            one, other = (next(t for key, t in numbers.items() if key in x) for x in (a, b))
            own |= {one, other}
            pairs.append((one, other))
            assert one != other
            assert (other in chosen[one]) == label
            for text, hidden in ((a, chosen[one] | {other}), (b, chosen[other] | {one})):
                assert b"[[" not in text and b"edirect" not in text
                names = {name.partition(" (")[0] for name in hidden}
                # `Topica1` is also in `Topica10`: the longer one is another article's
                assert not [n for n in names if re_word(n).search(text)]
        assert len(set(pairs)) == len(pairs)
        assert split.labels.mean() == 0.5
        firsts = [Counter(p[0] for p, y in zip(pairs, split.labels, strict=True) if y == label)
                  for label in (0, 1)]  # fmt: skip
        assert firsts[0] == firsts[1]
        seen.append(own)
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])


def re_word(name: str):
    import re

    return re.compile(rb"(?<![0-9A-Za-z])" + name.encode() + rb"(?![0-9])")


def test_both_labels_have_each_article_as_often(rng):
    """Else a title alone would tell the label; measured where links are few enough."""
    n = 300
    linked = {a: set(rng.choice(n, 12, replace=False)) - {a} for a in range(n)}
    titles = [f"t{number}".encode() for number in range(n)]
    given_ = [enwik8.Article(titles[a], b"", {titles[b] for b in linked[a]}) for a in range(n)]
    a, b, labels = enwik8.pairs(given_, 2000, rng, "here")
    assert all((j in linked[i]) == label for i, j, label in zip(a, b, labels, strict=True))
    for side in (a, b):
        assert Counter(side[labels == 0]) == Counter(side[labels == 1])
    assert len({*zip(a, b, strict=True)}) == 2000


def test_negatives_come_from_the_neighbourhood_of_the_first_article(rng):
    """Two circles of articles that link among themselves alone: so do their negatives."""
    n = 1000  # so that some of their 20 neighbourhoods lie in each circle
    titles = [f"t{number}".encode() for number in range(n)]
    given_ = []
    for a in range(n):
        own = [b for b in rng.permutation(n // 2)[:20] + n // 2 * (a >= n // 2) if b != a]
        given_.append(enwik8.Article(titles[a], b"", {titles[b] for b in own}))
    a, b, labels = enwik8.pairs(given_, 2000, rng, "here")
    assert ((a >= n // 2) == (b >= n // 2))[labels == 0].mean() > 0.95


def test_an_article_that_links_to_all_others_is_one_line(rng):
    titles = [f"t{number}".encode() for number in range(3)]
    given_ = [enwik8.Article(title, b"", set(titles) - {title}) for title in titles]
    with pytest.raises(LRAError, match="^here: has an article that links to"):
        enwik8.pairs(given_, 4, rng, "here")


def test_near_duplicate_articles_are_in_one_split(rng):
    text = sentence(rng, 300).encode()
    drawn = [enwik8.Article(str(n).encode(), sentence(rng, 100).encode(), set()) for n in range(40)]
    drawn += [enwik8.Article(b"copy", text, set()), enwik8.Article(b"twin", text + b" x", set())]
    for seed in range(10):
        apart = enwik8._apart(drawn, enwik8.Links(), {"train": 60, "val": 20, "test": 20},
                              np.random.default_rng(seed))  # fmt: skip
        found = [{article.title for article in chosen} for _, chosen in apart]
        assert sum(len(titles) for titles in found) == 42
        assert [len({b"copy", b"twin"} & titles) for titles in found].count(2) == 1


@pytest.mark.parametrize(("files", "said"), [
    ({"x": b"no articles"}, "has no enwik8"),
    ({"enwik8": b"no articles"}, "enwik8: has no article of 500 bytes"),
    ({"a/enwik8": b"", "b/enwik8": b""}, "holds 'enwik8' twice, also as 'b/enwik8'"),
    ({"enwik8.gz": b"no gzip"}, "enwik8.gz: malformed (Not a gzipped file"),
])  # fmt: skip
def test_an_archive_without_articles_is_one_line(tmp_path, files, said):
    archive = archives.tar(tmp_path / "w.tgz", files)
    line = refused(archive, tmp_path / "out", "enwik8_links", (200, 14, 30), **PAIRS)
    assert line.startswith(f"{archive}: ") and said in line


# All


def some(source):
    rng = np.random.default_rng(0)
    if source == "fashion":
        return archives.fashion(40, 10, rng)[0], (30, 10, 10), {}
    if source == "mail":
        return archives.mails(corpus(rng)), (68, 10, 30), {}
    return {"enwik8": archives.enwik8(wiki(rng, 40)[0])}, (40, 4, 10), PAIRS


@pytest.mark.parametrize("source", ["fashion", "mail", "enwik8_links"])
@examples(40)
@given(data=st.data())
def test_whatever_a_file_holds_it_is_one_line_and_the_archive_stays(tmp_path_factory, source, data):
    files, sizes, options = some(source)
    name = data.draw(st.sampled_from(sorted(files)), label="name")
    place = data.draw(st.integers(0, len(files[name])), label="place")
    new = data.draw(st.binary(max_size=20), label="new")
    end = data.draw(st.sampled_from([place, place + len(new), len(files[name])]), label="end")
    files[name] = files[name][:place] + new + files[name][end:]
    folder = tmp_path_factory.mktemp("any")
    archive = archives.tar(folder / "x.tar.gz", files)
    try:
        prepare(archive, folder / "out", source, sizes, **options)
    except LRAError as error:
        assert str(error).startswith(f"{archive}: ") and "\n" not in str(error)
    assert archive.exists()


@pytest.mark.parametrize("source", ["fashion", "mail", "enwik8_links"])
def test_the_seed_alone_decides_and_the_order_of_the_archive_does_not(tmp_path, source):
    files, sizes, options = some(source)
    found = []
    for order, seed in ((1, 0), (-1, 0), (1, 1)):
        archive = archives.tar(tmp_path / "x.tgz", dict(list(files.items())[::order]))
        fields = {"pinned": PINNED, "options": options, "seed": seed}
        prepared.prepare(archive, tmp_path / "out", source, sizes, **fields)
        found.append((tmp_path / "out/train.arrow").read_bytes())
    assert found[0] == found[1] != found[2]
