#!/usr/bin/env python3
"""Two commands for a fresh machine: `python start.py lab` opens the course, `python start.py test` passes its tests.

Needs nothing but CPython 3.11 or newer. The first start makes `.venv` and installs what `requirements.lock` pins; later
starts find it done. Everything else is handed on to the `kdcourse` command: `python start.py doctor`, `... run 03`.

For instructors, `python start.py test --colab` runs the labs (`... --colab 02 10`: these two) on the versions that Google Colab
has: `requirements-colab.txt`, in an environment of their own.
"""

# Every Python, 2.7 too, has to read this file: it is what says that the Python is too old.
import os
import sys

OLDEST = (3, 11)
PLACE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "kdcourse", "system", "installation.py")


def main(arguments):
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    if sys.version_info < OLDEST:
        wanted, here = (".".join(map(str, version[:2])) for version in (OLDEST, sys.version_info))
        sys.stderr.write("This course needs Python %s or newer; this is Python %s.\n" % (wanted, here))  # noqa: UP031
        return 1
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("installation", PLACE)
    installation = module_from_spec(spec)
    spec.loader.exec_module(installation)
    return installation.main(arguments)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("Interrupted. Run the same command again to go on.")
