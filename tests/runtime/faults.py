"""What goes wrong with a folder, for the tests of the cache and of export."""

import contextlib
import os
import subprocess

import pytest

try:
    import resource
except ImportError:  # Windows
    resource = None


@contextlib.contextmanager
def largest_file(size):
    """Files may have at most `size` bytes: writing more fails as on a full disk."""
    if resource is None:
        pytest.skip("no limit of the size of files here")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def nobody():
    """Without the rights of root, who may write everywhere."""
    if not hasattr(os, "geteuid"):
        pytest.skip("rights are of POSIX")
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@contextlib.contextmanager
def mounted(folder, options):
    """A small disk of its own at `folder`."""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], capture_output=True
    )
    if done.returncode:
        pytest.skip("nothing may be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
