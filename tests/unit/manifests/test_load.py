"""From texts to manifests: documents, names, needs, references."""

import time
from pathlib import Path

import pytest

from manifests.interface import Loaded, Need, NeedKind, Options, Text
from manifests.load import dangling, load
from resources.errors import InvalidArgument
from resources.kinds import Kind
from resources.meta import Ref

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*/manifest.yaml"))
HEAD = "apiVersion: lading/v1\nkind: {}\nmetadata: {{name: {}}}\n"


def volume(name: str, rest: str = "") -> str:
    return HEAD.format("Volume", name) + rest


def container(name: str, fields: str, image: str = "a") -> str:
    return HEAD.format("Container", name) + f"spec: {{image: {image}, networks: [host], {fields}}}\n"


def loaded(*documents: str, options: Options | None = None, file: str = "m.yaml") -> Loaded:
    return load([Text(file, "---\n".join(documents).encode())], options)


def told(found: Loaded) -> list[str]:
    return [str(problem) for problem in found.problems]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_examples_load(path: Path) -> None:
    found = load([Text(str(path), path.read_bytes())])
    assert told(found) == []
    assert found.manifests
    assert [str(problem) for problem in dangling(found, lambda _: False)] == []


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 4


def test_texts_and_documents_keep_their_order() -> None:
    texts = [Text("b.yaml", volume("one").encode()), Text("a.yaml", f"{volume('two')}---\n{volume('three')}".encode())]
    found = load(texts)
    assert [one.manifest.metadata.name for one in found.manifests] == ["one", "two", "three"]
    assert [str(one.where("metadata.name")) for one in found.manifests] == ["b.yaml:3:18", "a.yaml:3:18", "a.yaml:7:18"]


def test_a_compose_file_is_known_for_what_it_is() -> None:
    (problem,) = told(loaded("version: '3'\nservices: {web: {image: nginx}}\nvolumes: {}\n"))
    assert problem.startswith(
        "m.yaml:2:1: services: this is a Compose file, which is not read: write a document for each"
    )
    (problem,) = told(loaded("networks: {front: {external: true}}\n"))
    assert problem.startswith(
        "m.yaml:1:1: networks: this is a Compose file, which is not read: write a document for each"
    )


def test_every_kind_is_named_for_it() -> None:
    (problem,) = told(loaded("services: {}\n"))
    assert (
        "each image, container, network, volume, secret or config, with apiVersion: lading/v1 and its kind" in problem
    )


def test_what_is_indented_too_far_is_told_to_be() -> None:
    text = "apiVersion: lading/v1\nkind: Volume\nmetadata:\n  name: x\n  spec: {}\n"
    problems = told(loaded(text))
    assert problems == [
        "m.yaml:5:3: metadata.spec: there is no field 'spec'; it stands beside metadata, not below it: indent it less"
    ]


def test_problems_are_sorted_as_the_files_were_given() -> None:
    found = load([Text("b.yaml", b"kind: X"), Text("a.yaml", b"kind: [\n"), Text("c.yaml", b"- 1")])
    assert [problem.position.file for problem in found.problems] == ["b.yaml", "b.yaml", "a.yaml", "c.yaml"]
    assert found.failed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x", "1:1: a document is a map with apiVersion, kind, metadata, spec, not text"),
        ("kind: Volume\nmetadata: {name: x}", "1:1: apiVersion: is missing; write apiVersion: lading/v1"),
        ("apiVersion: v1\nkind: Volume\nmetadata: {name: x}", "1:13: apiVersion: must be lading/v1, not 'v1'"),
        ("apiVersion: [x]\nkind: Volume\nmetadata: {name: x}", "1:1: apiVersion: must be lading/v1"),
        ("apiVersion: lading/v1\nmetadata: {name: x}", "1:1: kind: is missing; there are Image, Container, Network"),
        ("apiVersion: lading/v1\nkind: Volum", "2:7: kind: there is no kind 'Volum'; did you mean Volume?"),
        ("apiVersion: lading/v1\nkind: volume", "2:7: kind: there is no kind 'volume'; did you mean Volume?"),
        (
            "apiVersion: lading/v1\nkind: Deployment",
            "2:7: kind: there is no kind 'Deployment'; there are Image, Container",
        ),
        ("apiVersion: lading/v1\nkind: {a: b}", "2:1: kind: must be a word, not a map; there are"),
        ("apiVersion: lading/v1\nkind: Source", "2:7: kind: Source is not supported by this version"),
        ("apiVersion: lading/v1\nkind: Node", "2:7: kind: Node is not supported by this version"),
        ("apiVersion: lading/v1\nkind: Volume", "1:1: metadata.name: is missing"),
        ("apiVersion: lading/v1\nkind: Volume\nmetadata: {}", "3:1: metadata.name: is missing"),
        ("apiVersion: lading/v1\nkind: Volume\nmetadata: x", "3:11: metadata: must be a map, not text"),
        (volume("x", "spc: {}"), "4:1: spc: there is no field 'spc'; did you mean spec?"),
        (volume("x", "status: {}"), "4:1: status: is written by the engine; leave it out"),
        (volume("x", "spec:"), "4:6: spec: has no value: write {} for an empty map, or leave it out"),
        (volume("7"), 'metadata.name: must be text: write it in quotes, "7"'),
        (volume("x, namespace: a b"), "3:32: metadata.namespace: a name is a letter or digit"),
        (
            volume("x, annotations: {lading/drfit: heal}"),
            "keys that begin with lading/ are the engine's; did you mean lading/drift?",
        ),
        (volume("x, annotations: {lading/drift: haul}"), "must be heal, report or ignore; did you mean heal?"),
        (volume("x, labels: {a b: c}"), '3:30: metadata.labels["a b"]: a key is letters, digits'),
    ],
)
def test_the_head_of_a_document(text: str, expected: str) -> None:
    problems = told(loaded(text))
    assert len(problems) == 1, problems
    assert f"m.yaml:{expected}" in problems[0] or (not expected[0].isdigit() and expected in problems[0])


def test_the_namespace_of_the_options_is_for_those_that_name_none() -> None:
    found = loaded(volume("a"), volume("b, namespace: own"), options=Options(namespace="given"))
    assert [one.manifest.metadata.namespace for one in found.manifests] == ["given", "own"]
    with pytest.raises(InvalidArgument, match="is not a namespace"):
        loaded(volume("a"), options=Options(namespace="../x"))


def test_an_object_stands_once_and_both_places_are_named() -> None:
    found = load([Text("a.yaml", volume("x").encode()), Text("b.yaml", f"\n{volume('x')}".encode())])
    assert told(found) == ["b.yaml:4:18: metadata.name: volume/x stands twice, first at a.yaml:3:18"]
    assert told(loaded(volume("x"), volume("x, namespace: n"), HEAD.format("Config", "x"))) == []
    found = loaded(volume("x, namespace: n"), volume("x", "spec: {driver: 1}\n"), options=Options(namespace="n"))
    assert "m.yaml:7:18: metadata.name: volume/x stands twice in the namespace n, first at m.yaml:3:18" in told(found)


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "a/b",
        "",
        ".x",
        "-rf",
        "$(x)",
        "a b",
        "a\\nb",
        "a\\0b",
        "ａ",
        "a․b",
        "x" * 129,
        "x" * 4096,
        "..",
        "`id`",
        "a;b",
    ],
)
@pytest.mark.parametrize("field", ["name", "namespace"])
def test_hostile_names_stop_here(name: str, field: str) -> None:
    metadata = f'name: ok, {field}: "{name}"' if field != "name" else f'name: "{name}"'
    found = loaded(f"apiVersion: lading/v1\nkind: Volume\nmetadata: {{{metadata}}}\n")
    assert found.failed
    assert found.manifests == ()
    assert "\n" not in "".join(told(found))


@pytest.mark.parametrize(
    "value", ['"; flush ruleset; #', "</script>", "a\nb\r\n", "\x1b[31m", "127.0.0.1 evil", "\u2028\u202e'"]
)
def test_label_values_are_kept_byte_for_byte(value: str) -> None:
    import json

    found = loaded(volume(f"x, labels: {{a: {json.dumps(value)}}}"))
    assert found.manifests[0].manifest.metadata.labels == {"a": value}


def test_needs_are_relative_to_the_manifests_own_file() -> None:
    documents = [
        HEAD.format("Secret", "s") + "spec: {files: {tls.key: ./tls.key, abs: /etc/k}, env: {token: CI_TOKEN}}\n",
        HEAD.format("Config", "c") + "spec: {files: {a: ../a}}\n",
        container("w", "envFile: [./web.env]"),
        HEAD.format("Image", "i") + "spec: {from: {archive: ./nginx.tar}}\n",
        HEAD.format("Image", "j") + "spec: {from: {layout: lay}}\n",
        HEAD.format("Image", "k") + "spec: {from: {rootfs: /r}}\n",
        HEAD.format("Volume", "v") + "spec: {populate: {archive: seed.tar}}\n",
    ]
    file, upload = NeedKind.FILE, NeedKind.UPLOAD
    found = loaded(*documents, file="deploy/shop/m.yaml")
    assert told(found) == []
    assert [need for one in found.manifests for need in one.needs] == [
        Need('spec.files["tls.key"]', file, "deploy/shop/tls.key"),
        Need("spec.files.abs", file, "/etc/k"),
        Need("spec.env.token", NeedKind.VARIABLE, "CI_TOKEN"),
        Need("spec.files.a", file, "deploy/shop/../a"),
        Need("spec.envFile[0]", file, "deploy/shop/web.env"),
        Need("spec.from.archive", upload, "deploy/shop/nginx.tar"),
        Need("spec.from.layout", upload, "deploy/shop/lay"),
        Need("spec.from.rootfs", upload, "/r"),
        Need("spec.populate.archive", upload, "deploy/shop/seed.tar"),
    ]
    assert loaded(documents[3], file="-").manifests[0].needs[0].value == "nginx.tar"
    assert loaded(documents[3], file="/abs/m.yaml").manifests[0].needs[0].value == "/abs/nginx.tar"


REFERRING = container(
    "web",
    "env: {A: {secret: s, key: k}, B.c: {config: c, key: k}}, "
    "mounts: [{volume: v, target: /v}, {secret: s, target: /s}, {config: c, key: k, target: /c}], "
    "dependsOn: [db, {container: job, condition: completed, restart: true}]",
    image="{name: i}",
)


def test_references_name_the_field_and_what_it_waits_for() -> None:
    references = loaded(REFERRING).manifests[0].references
    assert [(one.path, str(one.target), one.condition, one.key, one.restart) for one in references] == [
        ("spec.image.name", "image/i", "ready", None, False),
        ("spec.env.A.secret", "secret/s", "ready", "k", False),
        ('spec.env["B.c"].config', "config/c", "ready", "k", False),
        ("spec.mounts[0].volume", "volume/v", "ready", None, False),
        ("spec.mounts[1].secret", "secret/s", "ready", None, False),
        ("spec.mounts[2].config", "config/c", "ready", "k", False),
        ("spec.dependsOn[0].container", "container/db", "started", None, False),
        ("spec.dependsOn[1].container", "container/job", "completed", None, True),
    ]


def test_every_reference_knows_its_place() -> None:
    located = loaded(REFERRING).manifests[0]
    line = REFERRING.splitlines()[3]
    for reference in located.references:
        position = located.where(reference.path)
        assert position.line == 4
        assert line[position.column - 1 :].startswith(reference.target.name)


def test_where_is_the_nearest_that_is_written() -> None:
    located = loaded(REFERRING).manifests[0]
    assert str(located.where("spec.stop.timeout")) == "m.yaml:4:1"
    assert str(located.where("spec.mounts[0]")) == str(located.where("spec.mounts[0].readOnly"))
    assert str(located.where("")) == "m.yaml:1:1"


def test_dangling_references() -> None:
    found = loaded(container("web", "dependsOn: [cahce]", image="{name: i}"), container("cache", "init: true"))
    assert [str(problem) for problem in dangling(found, lambda _: False)] == [
        "m.yaml:4:22: warning: spec.image.name: there is no image/i in this input",
        "m.yaml:4:56: warning: spec.dependsOn[0].container: there is no container/cahce in this input; did you mean cache?",
    ]
    known = {
        Ref(kind=Kind.IMAGE, namespace="default", name="i"),
        Ref(kind=Kind.CONTAINER, namespace="default", name="cahce"),
    }
    assert dangling(found, known.__contains__) == ()
    errors = dangling(found, lambda _: False, warning=False)
    assert [problem.warning for problem in errors] == [False, False]
    assert "in this input and none in the store" in errors[0].message


def test_references_stay_in_their_namespace() -> None:
    found = loaded(container("web", "mounts: [{volume: v, target: /v}]"), volume("v, namespace: other"))
    assert len(dangling(found, lambda _: False)) == 1


def test_a_key_has_to_be_in_the_secret_or_config() -> None:
    secret = HEAD.format("Secret", "s") + "spec: {data: {password: x}, files: {f: f}, env: {e: E}, generate: {g: {}}}\n"
    for key in ("password", "f", "e", "g"):
        assert dangling(loaded(container("w", f"env: {{P: {{secret: s, key: {key}}}}}"), secret), lambda _: False) == ()
    found = loaded(container("w", "env: {P: {secret: s, key: passwd}}"), secret)
    problems = dangling(found, lambda _: True)
    assert [str(problem) for problem in problems] == [
        "m.yaml:4:62: spec.env.P.key: secret/s has no key 'passwd'; did you mean password?"
    ]


def test_what_is_right_is_found_beside_what_is_wrong() -> None:
    found = loaded(volume("a"), "apiVersion: lading/v1\nkind: Nothing\n", volume("b", "spec: {x: 1}\n"), volume("c"))
    assert len(found.problems) == 2
    assert [one.manifest.metadata.name for one in found.manifests] == ["a", "c"]


def test_fifty_containers_load_in_a_tenth_of_a_second() -> None:
    shop = next(path for path in EXAMPLES if path.parent.name == "02-shop").read_text()
    tiers = [document for document in shop.split("---\n") if "kind: Container" in document]
    text = "---\n".join(tiers[n % len(tiers)].replace("{name: ", f"{{name: n{n}-", 1) for n in range(50))
    taken = []
    for _ in range(3):
        began = time.process_time()
        found = load([Text("m.yaml", text.encode())])
        taken.append(time.process_time() - began)
    assert len(found.manifests) == 50
    assert min(taken) < 0.1
