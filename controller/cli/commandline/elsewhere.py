"""Words of other tools (Docker, compose, kubectl, podman), and what says the same here (PURE).

Each is one line for whoever types it. In backquotes after `lading ` stands a command that is there (a test parses them all).
"""

from collections.abc import Mapping

_APPLY = "`lading apply -f FILE` makes what a manifest says"
_IMPERATIVE = f"write a Container as a manifest: {_APPLY}, and `lading help apply` explains it"
_CONTAINERS = "`lading get container` lists containers, with `-o wide` their images and addresses"
_CHANGE = "edit the manifest: `lading plan -f FILE` says what that would do, and `lading apply -f FILE` does it"
_NETWORK = "write `kind: Network` in a manifest, and `lading apply -f FILE`; see `lading help network`"
_GONE_NETWORK = "`lading delete network/NAME` deletes one, `lading network prune` those nobody is on"
_VOLUMES = "`lading get volume` lists volumes, `lading delete volume/NAME` deletes one; a manifest with `kind: Volume` makes one"
_SECRETS = (
    "`lading get secret` lists them; a manifest with `kind: Secret` makes one, `lading delete secret/NAME` deletes it"
)
_CONFIGS = (
    "`lading get config` lists them; a manifest with `kind: Config` makes one, `lading delete config/NAME` deletes it"
)
_COMPOSE = (
    "compose files are not read yet: docs/manifests.md says how to write one as a manifest, for `lading apply -f FILE`"
)
_BUILD = "lading builds nothing yet: build with another tool, and take in what it saved with `lading image load`"
_PUSH = (
    "lading pushes nothing yet: write an archive with `lading image save REF -o FILE`, and push that with another tool"
)
_PORTS = "`lading get container NAME -o wide` and `lading describe NAME` show published ports"
_INFO = "`lading version` says what the engine is, `lading doctor` what this machine has and lacks"
_PRUNE = "`lading image prune`, `lading network prune`, and `lading apply --prune --owner NAME -f FILE` delete what is not needed"
_SEVERAL = "lading works on one machine; several containers of one kind are several objects in a manifest"
_NAMESPACES = (
    "a namespace is there with its first object: `metadata: {namespace: NAME}`, or `-n NAME`; see `lading get all -A`"
)
_STOP = "`stop: {timeout: 5s}` in the manifest says how long it may take; `lading kill NAME` does not wait"

ELSEWHERE: Mapping[str, str] = {
    "annotate": _CHANGE,
    "api-resources": "`lading schema` says what kinds there are, as a JSON Schema",
    "build": _BUILD,
    "builder": _BUILD,
    "buildx": _BUILD,
    "cluster-info": _INFO,
    "commit": "an image comes from a registry or an archive: see `lading help image`",
    "compose": _COMPOSE,
    "config": f"{_CONFIGS}. A manifest is checked by `lading validate -f FILE`",
    "container": f"{_CONTAINERS}; what is done to one has no such word before it: `lading stop NAME`",
    "context": "`--root DIR` and `--run-root DIR` say which engine is meant",
    "convert": _COMPOSE,
    "create": f"{_IMPERATIVE}; with `state: created` it is not started",
    "diff": "`lading plan -f FILE` says how what there is differs from a manifest",
    "down": "`lading delete -f FILE` deletes what a manifest names; volumes keep their data without `--data`",
    "edit": _CHANGE,
    "explain": "`lading schema KIND` says what its fields are, and docs/manifests.md what they mean",
    "export": "`lading cp NAME:/PATH DIR` copies files out of a container",
    "expose": f"`ports` in the manifest publishes them; {_PORTS}",
    "history": "`lading image history REF` says how an image was made, `lading events` what happened here",
    "image build": _BUILD,
    "image delete": "see `lading image rm REF`",
    "image list": "see `lading image ls`",
    "image push": _PUSH,
    "image remove": "see `lading image rm REF`",
    "images": "see `lading image ls`",
    "import": "see `lading image import FILE REF`",
    "info": _INFO,
    "init": "nothing has to be set up: the first command starts an engine; `lading doctor` says what this machine lacks",
    "inspect": "`lading get KIND NAME -o json` says all, `lading describe KIND/NAME` what people want to know",
    "label": _CHANGE,
    "load": "see `lading image load -i FILE`",
    "ls": "`lading get all` lists every object",
    "namespace": _NAMESPACES,
    "network create": _NETWORK,
    "network delete": _GONE_NETWORK,
    "network list": "see `lading network ls`",
    "network remove": _GONE_NETWORK,
    "network rm": _GONE_NETWORK,
    "node": _SEVERAL,
    "ns": _NAMESPACES,
    "patch": _CHANGE,
    "pod": "containers share a network by `networks: [{container: NAME}]` in their manifest",
    "port": _PORTS,
    "port-forward": f"`ports` in the manifest publishes them while the container runs; {_PORTS}",
    "prune": _PRUNE,
    "ps": _CONTAINERS,
    "pull": "see `lading image pull REF`",
    "push": _PUSH,
    "replace": _CHANGE,
    "rm": "`lading delete NAME` deletes a container, `lading delete KIND/NAME` anything else",
    "rmi": "see `lading image rm REF`",
    "rollout": f"{_CHANGE}; `lading restart NAME` only starts it anew",
    "run": f"{_IMPERATIVE}. Beside a container that runs, `lading exec NAME -- COMMAND`",
    "save": "see `lading image save REF -o FILE`",
    "scale": _SEVERAL,
    "search": "lading asks a registry for an image by its name alone: `lading image pull REF`",
    "secret": _SECRETS,
    "service": _SEVERAL,
    "set": _CHANGE,
    "stack": f"`lading apply -f FILE`, with `--owner NAME` to know the objects as one stack. {_COMPOSE}",
    "status": "`lading get all` says how every object stands",
    "swarm": _SEVERAL,
    "system": f"`lading df` says what images take on the disk; {_PRUNE}; {_INFO}",
    "tag": "see `lading image tag REF NEW`",
    "unpause": "see `lading resume NAME`",
    "up": _APPLY,
    "update": _CHANGE,
    "volume": _VOLUMES,
}

FLAGS: Mapping[tuple[str, str], str] = {
    ("stop", "-t"): _STOP,
    ("stop", "--time"): _STOP,
    ("restart", "-t"): _STOP,
    ("restart", "--time"): _STOP,
    **{
        ("kill", f"-{digit}"): "`lading kill -s KILL NAME`: a signal is said by its name or number"
        for digit in "123456789"
    },
    ("stats", "--no-stream"): "`lading stats` looks for one second and ends; with `-f` it goes on",
    ("events", "--tail"): "`lading events --since 10m` begins later",
    ("events", "--until"): "`lading events --since 10m` begins later, and ends unless `-f` is given",
}
"""By verb and flag."""
WORDS: Mapping[str, str] = {
    "image ls": "`lading image inspect REF` tells of one",
    "network ls": "`lading network inspect NAME` tells of one",
}
"""By the verb that takes none."""
KINDS: Mapping[str, str] = {
    **dict.fromkeys(("pod", "pods", "po"), _CONTAINERS),
    **dict.fromkeys(
        ("deployment", "deployments", "deploy", "replicaset", "rs", "statefulset", "sts", "daemonset", "ds"),
        f"{_SEVERAL}; {_CONTAINERS}",
    ),
    **dict.fromkeys(("svc",), f"names and `ports` of containers do that; {_PORTS}"),
    **dict.fromkeys(("namespace", "namespaces", "ns"), _NAMESPACES),
    **dict.fromkeys(("configmap", "configmaps", "cm"), _CONFIGS),
    **dict.fromkeys(("persistentvolumeclaim", "persistentvolume", "pvc", "pv"), _VOLUMES),
    **dict.fromkeys(("event", "events", "ev"), "`lading events` says what happened"),
}
"""Kinds of object."""
