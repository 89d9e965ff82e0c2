"""What goes into the images of the examples and tests, and how each is started."""

from dataclasses import dataclass, field

POSTGRES_START = """\
#!/bin/sh
# Make the database on first start, set its password, then become it.
set -e
if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA"
    chown postgres:postgres "$PGDATA"
    chmod 0700 "$PGDATA"
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    secret=$(mktemp)
    printf '%s\\n' "${POSTGRES_PASSWORD:?set POSTGRES_PASSWORD}" >"$secret"
    initdb --username="$POSTGRES_USER" --pwfile="$secret" --auth=scram-sha-256 --encoding=UTF8 >/dev/null
    rm -f "$secret"
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    if [ "$POSTGRES_DB" != postgres ]; then
        echo "CREATE DATABASE \\"$POSTGRES_DB\\"" | postgres --single -j postgres >/dev/null
    fi
fi
# The password is what this start was given, also when the data is older than the secret.
quoted=$(printf '%s' "$POSTGRES_PASSWORD" | sed "s/'/''/g")
echo "ALTER ROLE \"$POSTGRES_USER\" PASSWORD '$quoted'" | postgres --single postgres >/dev/null
exec postgres "$@"
"""

NO_SERVICES = "#!/bin/sh\n# Installing a package here starts nothing.\nexit 101\n"
SLIM = "".join(
    f"path-exclude=/usr/share/{folder}/*\n"
    for folder in ("doc", "man", "info", "locale", "lintian", "doc-base", "groff", "linda")
)


@dataclass(frozen=True, slots=True)
class File:
    text: str
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Recipe:
    """One image: the packages of its own layer, files put there before and after, and its configuration.

    `{pg}` in a value is the folder of the one PostgreSQL version that the distribution has.
    """

    packages: tuple[str, ...]
    config: dict[str, object]
    before: dict[str, File] = field(default_factory=dict)
    after: dict[str, File] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    folders: dict[str, str] = field(default_factory=dict)  # path -> owner:group, as the distribution names them


PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

BASE_FILES = {
    "etc/dpkg/dpkg.cfg.d/slim": File(SLIM),
    "usr/sbin/policy-rc.d": File(NO_SERVICES, 0o755),
    "etc/apt/apt.conf.d/slim": File('APT::Install-Recommends "false";\nAcquire::Languages "none";\n'),
}

IMAGES: dict[str, Recipe] = {
    "postgres": Recipe(
        packages=("postgresql",),
        before={"etc/postgresql-common/createcluster.conf": File("create_main_cluster = false\n")},
        after={"usr/local/bin/start-postgres": File(POSTGRES_START, 0o755)},
        folders={"var/lib/postgresql/data": "postgres:postgres", "run/postgresql": "postgres:postgres"},
        config={
            "Entrypoint": ["/usr/local/bin/start-postgres"],
            "Cmd": ["-c", "listen_addresses=*"],
            "Env": [
                f"PATH=/usr/lib/postgresql/{{pg}}/bin:{PATH}",
                "LANG=C.UTF-8",
                "PGDATA=/var/lib/postgresql/data",
                "POSTGRES_USER=postgres",
                "POSTGRES_DB=postgres",
            ],
            "ExposedPorts": {"5432/tcp": {}},
            "Volumes": {"/var/lib/postgresql/data": {}},
            "StopSignal": "SIGINT",
        },
    ),
    "redis": Recipe(
        packages=("redis-server",),
        folders={"data": "redis:redis"},
        config={
            "Entrypoint": ["redis-server"],
            "Cmd": ["--protected-mode", "no"],
            "Env": [f"PATH={PATH}"],
            "User": "redis",
            "WorkingDir": "/data",
            "ExposedPorts": {"6379/tcp": {}},
            "Volumes": {"/data": {}},
        },
    ),
    "nginx": Recipe(
        packages=("nginx-light",),
        links={"var/log/nginx/access.log": "/dev/stdout", "var/log/nginx/error.log": "/dev/stderr"},
        config={
            "Entrypoint": ["nginx"],
            "Cmd": ["-g", "daemon off;"],
            "Env": [f"PATH={PATH}"],
            "ExposedPorts": {"80/tcp": {}},
            "StopSignal": "SIGQUIT",
        },
    ),
    "python": Recipe(
        packages=("python3", "python3-psycopg2", "python3-redis"),
        folders={"srv/app": "www-data:www-data"},
        config={
            "Cmd": ["python3"],
            "Env": [f"PATH={PATH}", "LANG=C.UTF-8", "PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1"],
            "User": "www-data",
            "WorkingDir": "/srv/app",
        },
    ),
}

BUSYBOX_CONFIG: dict[str, object] = {
    "Cmd": ["sh"],
    "Env": ["PATH=/bin"],
    "WorkingDir": "/",
}
BUSYBOX_FILES = {
    "etc/passwd": File("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"),
    "etc/group": File("root:x:0:\nnogroup:x:65534:\n"),
    "www/index.html": File("hello from a container\n"),
}
