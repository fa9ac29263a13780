"""What the checks share: which files are the project's, and how findings are told."""
import pathlib
import subprocess


def files(*patterns):
    """The project's files that match (all without a pattern), those not committed yet included."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [path for path in listed if pathlib.Path(path).is_file()]


def lines(path):
    """(number, text) of each line, from 1."""
    return enumerate(pathlib.Path(path).read_text(errors="replace").splitlines(), 1)


def tell(findings, about):
    """Prints "path:line: what" for each finding and a summary; returns the exit code."""
    for path, number, what in findings:
        print(f"{path}:{number}: {what}")
    print(f"{about}, {len(findings)} findings")
    return 1 if findings else 0
