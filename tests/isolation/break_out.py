# %%
import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess

with open("targets.json") as file:
    targets = json.load(file)
results = {}


def attempt(name, action):
    try:
        results[name] = ["worked", repr(action())[:500]]
    except BaseException as error:
        results[name] = ["failed", f"{type(error).__name__}: {error}"[:500]]


# %% The network
port = targets["port"]
attempt("reach Galaxy", lambda: socket.create_connection(("127.0.0.1", port), 5))
attempt("reach the internet", lambda: socket.create_connection(("192.0.2.1", 443), 5))
attempt("look a name up", lambda: socket.getaddrinfo("example.org", 443))
attempt(
    "send a packet",
    lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.53", 53)),
)
attempt("open a raw socket", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))

# %% What is the server's, and other people's
for name, path in targets["read"].items():
    attempt(f"read {name}", lambda path=path: open(path, "rb").read(100))
for path in (
    "/var/run/docker.sock",
    "/run/podman/podman.sock",
    "/dev/kmsg",
    "/dev/mem",
    "/dev/vda",
):
    attempt(f"open {path}", lambda path=path: os.stat(path))
attempt("read the passwords", lambda: open("/etc/shadow").read() if os.getuid() else 1 / 0)


# %% Secrets in any file, variable or process that can be read
def search():
    words = [word[::-1].encode() for word in targets["backwards"]] + [b"job_key" + b"="]
    places = [f"/proc/{number}/environ" for number in os.listdir("/proc") if number.isdigit()]
    for top in os.listdir("/"):
        if top not in ("proc", "sys", "usr", "opt", "lib", "bin", "sbin"):
            for folder, _, names in os.walk("/" + top):
                places += [os.path.join(folder, name) for name in names]
    looked = 0
    for place in places:
        try:
            if os.path.isfile(place):
                with open(place, "rb") as file:
                    text = file.read(10**7)
                looked += 1
                if any(word in text for word in words):
                    return place
        except OSError:
            continue
    raise LookupError(f"nothing in {looked} files")


attempt("find a key", search)

# %% Writing
here = os.getcwd()
above = here
while os.path.basename(above) and not os.path.exists(os.path.join(above, "tool_files")):
    above = os.path.dirname(above)
places = [
    *targets["write"],
    "/",
    "/etc",
    "/usr/bin",
    "/opt/gpulab/bin",
    "/proc/sys/kernel",
    above,
]
for place in places:
    if place.startswith("/tmp/"):
        # The container has a /tmp of its own, in which a checkout below /tmp has a namesake: that
        # it can be written says nothing. Whether anything arrived outside is looked at outside.
        with contextlib.suppress(OSError):
            open(os.path.join(place, "was-here"), "w").close()
        continue
    attempt(f"write in {place}", lambda place=place: open(os.path.join(place, "was-here"), "w"))
attempt("write an input", lambda: open("targets.json", "a").write("x"))
attempt(
    "write the input's original", lambda: open(os.path.realpath("targets.json"), "a").write("x")
)
attempt("set the core pattern", lambda: open("/proc/sys/kernel/core_pattern", "w").write("|/x"))

# %% Privileges
libc = ctypes.CDLL(None, use_errno=True)


def call(name, *arguments):
    if getattr(libc, name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


attempt("mount", lambda: call("mount", b"none", b"/tmp", b"tmpfs", 0, None))
attempt("remount the root", lambda: call("mount", b"none", b"/", None, 0x20, None))
attempt("change the root", lambda: call("chroot", b"/tmp"))
attempt("become somebody else", lambda: os.setuid(12345 if os.getuid() != 12345 else 0))
attempt("make a device", lambda: os.mknod("disk", 0o60600, os.makedev(254, 0)))
attempt("unshare a network", lambda: call("unshare", 0x40000000))
attempt("enter the first process", lambda: call("setns", os.open("/proc/1/ns/mnt", 0), 0))


def gain():
    subprocess.run(["unshare", "-Urm", "mount", "-t", "tmpfs", "none", "/tmp"], check=True)


attempt("mount in a user namespace", gain)


def processes():
    # Whatever does not belong to this job, by its command line.
    for number in filter(str.isdigit, os.listdir("/proc")):
        text = open(f"/proc/{number}/cmdline", "rb").read()
        if b"gunicorn" in text or b"celery" in text or b"podman" in text:
            os.kill(int(number), signal.SIGKILL)
            return text
    raise LookupError("no process of the server is seen")


attempt("see a process of the server", processes)

# %%
os.makedirs("outputs", exist_ok=True)
with open("outputs/attempts.json", "w") as file:
    json.dump(results, file, indent=1)
