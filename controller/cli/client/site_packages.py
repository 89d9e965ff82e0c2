"""Other people's packages: the client starts without, and without what looks for them."""

import sys


def with_packages() -> None:
    """From here on they can be imported."""
    if sys.flags.no_site:
        import site

        site.main()
