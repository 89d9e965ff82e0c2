"""What is wrong with a document, said where it stands, in the language's own words, all of it at once."""

import pytest

from manifests.interface import Text
from manifests.load import load
from manifests.problems import MAX_PROBLEMS

HEAD = "apiVersion: lading/v1\nkind: {kind}\nmetadata: {{name: x}}\nspec:\n"


def told(kind: str, spec: str) -> list[str]:
    """Problems of a spec, without the name of the file."""
    text = HEAD.format(kind=kind) + "\n".join(f"  {line}" for line in spec.splitlines())
    return [str(problem).removeprefix("m.yaml:") for problem in load([Text("m.yaml", text.encode())]).problems]


def container(fields: str) -> list[str]:
    return told("Container", f"image: a\nnetworks: [host]\n{fields}")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("ports: 22:22", '7:10: spec.ports: must be a list, not text: write ["22:22"]'),
        ("ports: {80: 80}", "7:3: spec.ports: must be a list, not a map"),
        ("command: sleep 10", '7:12: spec.command: must be a list, not text: write ["sleep", "10"]'),
        ("command: [sleep, 10]", '7:20: spec.command[1]: must be text: write it in quotes, "10"'),
        ("command: [sleep, 1.10]", '7:20: spec.command[1]: must be text: write it in quotes, "1.10"'),
        ("user: 101", '7:9: spec.user: must be text: write it in quotes, "101"'),
        ("user: -1", '7:9: spec.user: must be text: write it in quotes, "-1"'),
        ("tty: yes", "7:8: spec.tty: must be true or false: write true"),
        ('tty: "false"', "7:8: spec.tty: must be true or false: write false"),
        ("tty: 1", "7:8: spec.tty: must be true or false"),
        ("resources: {pids: '200'}", "7:21: spec.resources.pids: must be a whole number: write it without quotes, 200"),
        ("resources: {pids: 1.5}", "7:21: spec.resources.pids: must be a whole number"),
        ("resources: {pids: 0}", "7:21: spec.resources.pids: must be 1 or more"),
        ("resources: {ioWeight: 2000}", "7:25: spec.resources.ioWeight: must be 1000 or less"),
        ("resources: {memory: 512m}", "7:23: spec.resources.memory: '512m' is not a size; say 512Mi"),
        ("resources: 512Mi", "7:14: spec.resources: must be a map, not text"),
        ("resources: {cpus: lots}", "7:21: spec.resources.cpus: 'lots' is not a number of cpus such as 1.5 or 1500m"),
        ("stop: {timeout: 5}", "7:19: spec.stop.timeout: 5 is not a duration such as 500ms, 2s or 1m30s; say 5s"),
        ("stop: {signal: SIGTRM}", "7:18: spec.stop.signal: is not a signal such as SIGTERM, TERM or 15"),
        ("shmSize: " + "9" * 70, "is too long for a size such as 512Mi"),
        ("state: runing", "must be running, paused, stopped or created, not 'runing'; did you mean running?"),
        ("state: true", "must be running, paused, stopped or created, not 'true'"),
        ("restart: no", "spec.restart.policy: must be always, on-failure, unless-stopped or never, not 'no'"),
        ("restart: no", "not 'no'; did you mean never?"),
        ("restart: 5", "7:12: spec.restart: must be a policy or a map, not a number"),
        ("env: [A=b, C]", "7:3: spec.env: must be a map, not a list: write {A: …, C: …}"),
        ("extraHosts: ['db:10.0.0.1']", "spec.extraHosts: must be a map, not a list: write {db: …}"),
        ("env: {A: [b]}", "7:9: spec.env.A: must be a value or a map, not a list"),
        ("env: {A: {secrt: a, key: b}}", "there is no field 'secrt'; did you mean secret?"),
        ("env: {A: {key: b}}", "7:9: spec.env.A: say exactly one of secret and config"),
        ("env: {A: {secret: s}}", "7:9: spec.env.A.key: is missing"),
        ("env: {'A=B': c}", "7:9: spec.env[\"A=B\"]: the name of a variable is printable and has no '='"),
        ("env:", "7:7: spec.env: has no value: write {} for an empty map, or leave it out"),
        ("env: {A: }", '7:12: spec.env.A: has no value: write "" for an empty text, or leave it out'),
        (
            "mounts: [{secret: s, target: /s, mode: 0400}]",
            '7:42: spec.mounts[0].mode: a file mode is quoted: write "0400"',
        ),
        ("mounts: [{secret: s, target: /s, mode: 0o400}]", 'a file mode is quoted: write "0o400"'),
        ("mounts: [{volume: v, target: ../s}]", "must be an absolute path without '..' or control characters"),
        (
            "mounts: [{target: /s}]",
            "7:12: spec.mounts[0]: say exactly one of volume, bind, tmpfs, secret, config and image",
        ),
        ("mounts: [{volume: v, target: /s, mode: '0400'}]", "spec.mounts[0].mode: has no meaning for a volume mount"),
        ("mounts: [{volume: v}]", "7:12: spec.mounts[0].target: is missing"),
        (
            "mounts: ['./d:/d']",
            "spec.mounts[0]: must be a map, not text: write {bind: /…/d, target: /d}",
        ),
        ("mounts: ['data:/d:ro']", "write {volume: data, target: /d, readOnly: true}"),
        ("mounts: [/s]", "7:12: spec.mounts[0]: must be a map, not text"),
        ("mounts: [{tmpfs: {}, target: /proc/x}]", "spec.mounts[0].target: lies in a kernel file system"),
        ("mounts: [{tmpfs: {}, target: //dev/./x}]", "spec.mounts[0].target: lies in a kernel file system"),
        ("mounts: [{bind: /, target: /s}]", "spec.mounts[0].bind: / of the host inside a container is not supported"),
        (
            "mounts: [{config: c, key: k, target: /a}, {tmpfs: {}, target: /a/b}]",
            "lies below /a, where another mount puts a file",
        ),
        ("mounts: [{config: c, key: ../k, target: /a}]", "a key becomes the name of a file"),
        ("health: {exec: []}", "7:12: spec.health.exec: needs a command"),
        ("health: {}", "7:3: spec.health: say exactly one of exec, http and tcp"),
        ("health: off", "7:11: spec.health: must be none, not 'off'"),
        ("health: [curl]", "7:3: spec.health: must be none or a map, not a list"),
        ("hostname: a_b", "a host name is labels of letters, digits and '-'"),
        ("workingDir: srv", "must be an absolute path"),
        ("workingDir: /proc/self/fd/7", "spec.workingDir: lies in a kernel file system"),
        ("dns: {servers: [dns.example]}", "7:19: spec.dns.servers[0]: is not an IP address"),
        ("dns: {search: ['a b']}", "a DNS name is labels"),
        ('dns: {options: ["ndots:2\\nx"]}', "is not an option of resolv.conf such as ndots:2"),
        ('extraHosts: {"a\\nb": 10.0.0.1}', "a host name is labels"),
        ("extraHosts: {a: nowhere}", "7:19: spec.extraHosts.a: is not an IP address"),
        ("ulimits: {nofile: 1024}", "must be a map, not a number: write {soft: 1024, hard: 1024}"),
        ("dns: [8.8.8.8, '::1']", 'must be a map, not a list: write {servers: [8.8.8.8, "::1"]}'),
        ("logging: {driver: jornald}", "must be file or none, not 'jornald'"),
        ("ports: ['80']", "spec.ports: on the host's network the process' own port is open on the host"),
        ("ulimits: {nofiles: {soft: 1, hard: 1}}", "did you mean nofile?"),
        ("ulimits: {nofile: {soft: 2, hard: 1}}", "spec.ulimits.nofile.soft: is more than hard"),
        ("security: {capabilities: {add: [NET_ADMN]}}", "spec.security.capabilities.add[0]: is not a capability"),
        (
            "security: {sysctls: {kernel.core_pattern: '|x'}}",
            'spec.security.sysctls["kernel.core_pattern"]: is not a sysctl',
        ),
        ("security: {sysctls: {net.core.somaxconn: 1}}", "is the host's: the container is on the host's network"),
        ("resources: {swap: 0}", "spec.resources.swap: is in addition to memory, which is not limited"),
        ("resources: {cpuset: a}", 'is not a list of cpus such as "0-1" or "0,2"'),
        ("dependsOn: [a, a]", "7:18: spec.dependsOn[1]: the container a stands twice"),
        ("environment: {A: b}", "7:3: spec.environment: there is no field 'environment'; did you mean env?"),
        ("volumes: []", "did you mean mounts?"),
        ("depends_on: []", "did you mean dependsOn?"),
        ("memory: 1", "did you mean resources.memory?"),
        ("labels: {}", "did you mean metadata.labels?"),
        ("annotations: {}", "it belongs in metadata: did you mean metadata.annotations?"),
        ("qqqq: {}", "7:3: spec.qqqq: there is no field 'qqqq'"),
        ('"a\\x1b[31m": {}', "spec[\"a\\u001b[31m\"]: there is no field 'a\\x1b[31m'"),
    ],
)
def test_of_a_container(fields: str, expected: str) -> None:
    problems = container(fields)
    assert len(problems) == 1, problems
    assert expected in problems[0]


@pytest.mark.parametrize(
    "user", ["4294967296", "2147483648", "-1", "+1", " 1", "0x0", "1000:abc:d", "1000:", "", "a b", "1 1"]
)
def test_users_are_names_or_numbers_in_range(user: str) -> None:
    assert 'is not a user such as "101"' in container(f'user: "{user}"')[0]


@pytest.mark.parametrize(
    ("kind", "spec", "expected"),
    [
        ("Image", "{}", "4:1: spec.from: is missing"),
        ("Image", "from: {}", "5:3: spec.from: say exactly one of registry, archive, layout, rootfs and build"),
        ("Image", "from: {archive: a, layout: b}", "say exactly one of"),
        (
            "Image",
            "from: {archive: a}\ntags: ['../../x']",
            "6:10: spec.tags[0]: image reference '../../x' has a malformed",
        ),
        ("Image", "from: {archive: a}\ntags: [Shop]", "repository names are lower case"),
        ("Image", "from: {archive: a}\nplatform: amd64", "is not a platform such as linux/amd64"),
        ("Image", "from: {archive: a}\nconfig: {exposedPorts: [99999/tcp]}", 'is not a port such as "80" or "53/udp"'),
        ("Volume", "owner: {uid: 2147483648}", "spec.owner.uid: must be 2147483647 or less"),
        ("Volume", "populate: {archive: a, path: /b}", "spec.populate.path: has a meaning only beside image"),
        ("Volume", "size: 0", "spec.size: must be 1 or more"),
        ("Secret", "data: {../x: a}", 'spec.data["../x"]: a key becomes the name of a file'),
        ("Secret", "data: {a: b}\nenv: {a: B}", "6:12: spec.env.a: stands in data too"),
        ("Secret", "env: {a: B-C}", "is not the name of an environment variable"),
        ("Config", "data: {a: {b: c}}", "5:10: spec.data.a: must be a value, not a map: write it in quotes"),
        ("Network", "driver: host\nmtu: 1400", "6:8: spec.mtu: has no meaning for the driver host"),
        ("Network", "driver: brigde", "must be bridge, host or none, not 'brigde'; did you mean bridge?"),
        ("Image", "from: {registry: 'docker://reg.example/x'}", "begins with a scheme (leave docker:// out)"),
        ("Image", "from: https://reg.example/x", "must be a map, not text: write {registry: reg.example/x}"),
        ("Network", "driver: hots", "did you mean host?"),
        ("Image", "from: nginx.tar", "spec.from: must be a map, not text: write {archive: nginx.tar}"),
        ("Image", "from: nginx", "write {registry: nginx}"),
        ("Image", "from: {build: .}", "spec.from.build: must be a map, not text: write {context: .}"),
        ("Image", "from: {archive: a}\ntrack: true", "true is not a duration"),
        ("Volume", "- 1", "4:1: spec: must be a map, not a list"),
    ],
)
def test_of_other_kinds(kind: str, spec: str, expected: str) -> None:
    problems = told(kind, spec)
    assert len(problems) == 1, problems
    assert expected in problems[0]


def test_one_wrong_value_hides_no_other() -> None:
    problems = container(
        "mounts:\n"
        "  - {volum: v, target: /a}\n"
        "  - {volume: v, target: /a}\n"
        "  - {volume: v, target: /a, readOnly: 1}\n"
        "  - {volume: w, target: /a}\n"
        "tty: 1\n"
        "nothing: 1\n"
        "resources: {memory: x, swap: 1}\n"
        "restart: {backoff: {initial: 2s, max: 1s}}"
    )
    assert [problem.split(": ", 2)[:2] for problem in problems] == [
        ["8:8", "spec.mounts[0].volum"],
        ["10:41", "spec.mounts[2].readOnly"],
        ["11:7", "spec.mounts[3]"],
        ["12:8", "spec.tty"],
        ["13:3", "spec.nothing"],
        ["14:23", "spec.resources.memory"],
        ["15:32", "spec.restart.backoff.initial"],
    ]


@pytest.mark.parametrize("word", ["no", "on", "8080", "1.10", "0x1F", "007", "1e3", "22:22", "true", "~x"])
def test_values_of_any_scalar_are_kept_as_written(word: str) -> None:
    text = HEAD.format(kind="Config") + f"  data: {{a: {word}}}\n"
    loaded = load([Text("m.yaml", text.replace("name: x", f"name: x, labels: {{l: {word}}}").encode())])
    assert loaded.problems == ()
    manifest = loaded.manifests[0].manifest
    assert manifest.spec.data == {"a": word}
    assert manifest.metadata.labels == {"l": word}


def test_a_flood_of_problems_is_cut_off() -> None:
    problems = container("\n".join(f"{'k' * 100}{number}: 1" for number in range(20_000)))
    assert len(problems) == MAX_PROBLEMS + 1
    assert "there are more than 500 problems; the rest is not looked at" in "".join(problems)


@pytest.mark.parametrize(
    ("ports", "expected"),
    [
        ('"a:b", {host: 80}', ["ports[0]: 'a:b' is not a port", "ports[1].container: is missing"]),
        ('"8000-8009:80-89", {host: 80}', ["ports[1].container: is missing"]),
        ('"8000-8009:80-89", 8005:1', ["ports[1]: the host's port 8005/tcp stands twice"]),
        ('"a:b", "8000-8009:80-89", 8005:1', ["ports[0]: 'a:b' is not", "ports[2]: the host's port 8005/tcp stands"]),
        (
            '"1:1", {host: 2}, "a:b", 1:1',
            ["ports[1].container: is", "ports[2]: 'a:b' is", "ports[3]: the host's port 1/"],
        ),
        (
            "{container: 80, host: x}, {container: 80, hots: 1}",
            ["ports[0].host: must be", "ports[1].hots: there is no"],
        ),
    ],
)
def test_problems_of_a_list_have_the_places_that_were_written(ports: str, expected: list[str]) -> None:
    found = told("Container", f"image: a\nports: [{ports}]")
    assert [one.partition("spec.")[2][: len(said)] for one, said in zip(found, expected, strict=True)] == expected


def test_a_container_has_only_so_many_ports() -> None:
    assert container('ports: ["1-4096:1-4096"]')[1:] == []
    spec = 'image: a\nports:\n- "1-4000:1-4000"\n- 5000-5095:1-96\n- "6000:1"\n- "6001:1"'
    (problem,) = told("Container", spec)
    assert problem == (
        "9:5: spec.ports[2]: a container publishes at most 4096 ports, and these are 4098: "
        "one that needs more has all of the host's with networks: [host]"
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("network_mode: host", "there is no field 'network_mode'; write networks: [host]"),
        ("networkMode: none", "there is no field 'networkMode'; write networks: [none]"),
        ("network_mode: bridge", "write networks: [bridge], or leave it out"),
        ("network_mode: container:web", "write networks: [{container: web}]"),
        ("network_mode: 'service:web'", "write networks: [{container: web}]"),
        ("network_mode: mine", "write networks: [mine]"),
        ("network_mode: {a: b}", "did you mean networks?"),
        ("network_mode: 'x]\\x1b'", "did you mean networks?"),
        ("links: [db]", "; containers on one network find each other by their names and aliases: leave it out"),
        (
            "external_links: [db]",
            "; containers on one network find each other by their names and aliases: leave it out",
        ),
        ("expose: ['80']", "; containers on one network reach every port of each other: leave it out"),
        ("publish: ['80:80']", "did you mean ports?"),
        ("dns_search: [a]", "did you mean dns.search?"),
        ("dns_opt: [a]", "did you mean dns.options?"),
        ("extra_hosts: {}", "did you mean extraHosts?"),
        ("domainname: a", "did you mean dns.search?"),
        ("mac_address: a", "did you mean mac of one of its networks?"),
        ("ipv4_address: a", "did you mean ipv4 of one of its networks?"),
        ("aliases: [a]", "did you mean aliases of one of its networks?"),
        ("ports: [{target: 80}]", "spec.ports[0].target: there is no field 'target'; did you mean container?"),
        ("ports: [{container: 80, published: 80}]", "did you mean host?"),
        ("ports: [{container: 80, host_ip: 127.0.0.1}]", "did you mean address?"),
        ("ports: [{containerPort: 80}]", "did you mean container?"),
        ("ports: [{container: 80, hostPort: 80}]", "did you mean host?"),
        (
            "ports: [{container: 80, mode: host}]",
            "there is no field 'mode'; a port is always one of the host: leave it out",
        ),
        ("replicas: 2", "'replicas'; a document is one container: write one for each, with a name of its own"),
        (
            "build: .",
            "'build'; this version builds no images: build it elsewhere, and declare an Image with from: {arch",
        ),
        (
            "imagePullPolicy: Always",
            "'imagePullPolicy'; an Image says when it is pulled: declare one with from: {regis",
        ),
        ("pull_policy: always", "and pull: missing, always or never"),
        ("privileged: true", "not supported by this version: name those it needs in security.capabilities.add"),
        ("devices: [/dev/fuse]", "'devices'; devices are not supported by this version"),
        ("metadata: {}", "'metadata'; it stands beside spec, not below it: indent it less"),
        ('ports: {"8080": 80}', 'spec.ports: must be a list, not a map: write ["8080:80"]'),
    ],
)
def test_what_others_call_it_in_a_container(fields: str, expected: str) -> None:
    assert any(expected in problem for problem in container(fields)), container(fields)


@pytest.mark.parametrize(
    ("networks", "expected"),
    [
        ("{front: , back: }", "spec.networks: must be a list, not a map: write [front, back]"),
        (
            "{front: {aliases: [web, www]}, back: {ipv4_address: 10.0.0.5, mac_address: 'x'}}",
            "write [{name: front, aliases: [web, www]}, {name: back, ipv4: 10.0.0.5, mac: x}]",
        ),
        ("{front: {priority: 1000}, default: {}}", "write [{name: front, defaultRoute: true}, bridge]"),
        ("{front: {driver_opts: {a: b}}}", "spec.networks: must be a list, not a map: write [front]"),
        ('{"a\\x1bb": }', "5:3: spec.networks: must be a list, not a map"),
        ("[{name: a, ipv4_address: x}]", "there is no field 'ipv4_address'; did you mean ipv4?"),
        ("[{name: a, ipv6Address: x}]", "there is no field 'ipv6Address'; did you mean ipv6?"),
        ("[{name: a, mac_address: x}]", "there is no field 'mac_address'; did you mean mac?"),
        ("[{network: a}]", "there is no field 'network'; did you mean name?"),
        ("[{name: a, priority: 5}]", "there is no field 'priority'; did you mean defaultRoute?"),
        ("[{name: a, gw_priority: 5}]", "there is no field 'gw_priority'; did you mean defaultRoute?"),
        ("[{name: a, driver_opts: {}}]", "; an attachment has no options: leave it out"),
        ("[{name: a, link_local_ips: []}]", "; an attachment has one address of each family, ipv4 and ipv6"),
        ("host", 'must be a list, not text: write ["host"]'),
    ],
)
def test_what_others_call_it_in_an_attachment(networks: str, expected: str) -> None:
    found = told("Container", f"networks: {networks}\nimage: a")
    assert any(expected in problem for problem in found), found
    assert all(problem.isprintable() for problem in found)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("external: true", "; a network that is there already needs no document of its own: leave this one out"),
        ("driver_opts: {}", "there is no field 'driver_opts'; did you mean options?"),
        ("attachable: true", "; every container of the namespace may join: leave it out"),
        ("enable_ipv6: true", '; a network has IPv6 when its subnets say so: subnets: [10.42.0.0/24, "fd00:42::/64"]'),
        ("enableIPv6: true", "a network has IPv6 when its subnets say so"),
        ("name: x", "did you mean metadata.name?"),
        ("labels: {a: b}", "did you mean metadata.labels?"),
        ("subnet: 10.0.0.0/24", "did you mean subnets?"),
        ("gateway: 10.0.0.1", "did you mean gateway of one of its subnets?"),
        ("ip_range: 10.0.0.0/25", "did you mean ipRange of one of its subnets?"),
        (
            "ipam: {config: [{subnet: 10.0.0.0/24}]}",
            "spec.ipam.config: there is no field 'config'; write subnets: [{subnet: ",
        ),
        ("ipam: {config: []}", "; write subnets: ["),
        ("subnets: [{subnet: 10.0.0.0/24, ip_range: 10.0.0.0/25}]", "did you mean ipRange?"),
        ("subnets: [{subnet: 10.0.0.0/24, aux_addresses: {a: 10.0.0.5}}]", "did you mean reserved?"),
        ("aux_addresses: {}", "did you mean reserved of one of its subnets?"),
        (
            "options: {com.docker.network.driver.mtu: 1400}",
            "spec.options: is not supported by this version: mtu, internal, isolated and masquerade are fields of their own",
        ),
    ],
)
def test_what_others_call_it_in_a_network(fields: str, expected: str) -> None:
    found = told("Network", fields)
    assert any(expected in problem for problem in found), found
