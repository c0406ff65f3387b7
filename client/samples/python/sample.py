#!/usr/bin/python3
"""A sample: keys, state and signatures of an IC card, through inkand.

  sample.py keys
  sample.py watch [COUNT]
  sample.py sign SLOT FILE       writes FILE.sig

It needs the modules that ./generate makes (in PYTHONPATH), grpcio and protobuf.
A PIN never comes here: inkan-prompt asks for it and gives it to inkand.
"""

import contextlib
import hashlib
import os
import stat
import subprocess
import sys

import grpc

from inkan.v1 import signing_pb2, signing_pb2_grpc, status_pb2, status_pb2_grpc, types_pb2

SOCKET = os.environ.get("INKAN_SOCKET", "/run/inkan/inkan.sock")
PIN_SOCKET = os.environ.get("INKAN_PIN_SOCKET", os.path.join(os.path.dirname(SOCKET), "pin.sock"))
PROMPT = os.environ.get("INKAN_PROMPT", "/usr/libexec/inkan/inkan-prompt")
LANGUAGE = "ja" if os.environ.get("LANG", "").startswith("ja") else "en"
API_LEVEL = 1  # the lowest that this program works with
NEVER_REPEAT = [("grpc.enable_retries", 0), ("grpc.service_config_disable_resolution", 1)]


def check_socket(path):
    """Leaves when others than root, inkand's user or we could have made it."""
    folder = os.stat(os.path.dirname(os.path.realpath(path)))
    trusted = {0, os.getuid()}
    with contextlib.suppress(KeyError):
        import pwd
        trusted.add(pwd.getpwnam("inkan").pw_uid)
    # Our own group may write to what is ours: with umask 002 it is private.
    ours = (folder.st_uid, folder.st_gid) == (os.getuid(), os.getgid())
    others = stat.S_IWOTH if ours else stat.S_IWOTH | stat.S_IWGRP
    if folder.st_uid not in trusted or folder.st_mode & others:
        sys.exit(f"{path}: others could have put this socket here")


def connect():
    check_socket(SOCKET)
    channel = grpc.insecure_channel("unix:" + SOCKET, options=NEVER_REPEAT)  # bytes stay in the kernel
    version = status_pb2_grpc.StatusServiceStub(channel).GetVersion(
        status_pb2.GetVersionRequest(), metadata=metadata(), timeout=5)
    if version.api_level < API_LEVEL:
        sys.exit(f"inkand {version.version} is too old for this program")
    return channel


def metadata(agent=None):
    """What each call says: the language of errors, and who asks for the PIN."""
    return [("accept-language", LANGUAGE)] + ([("inkan-agent", agent)] if agent else [])


def list_keys(channel):
    stub, token = signing_pb2_grpc.SigningServiceStub(channel), ""
    while True:
        page = stub.ListKeys(signing_pb2.ListKeysRequest(page_token=token), metadata=metadata(), timeout=10)
        yield from page.keys
        token = page.next_page_token
        if not token:
            return


def keys(channel):
    for key in list_keys(channel):
        print(key.slot, key.type, key.certificate.company)


def watch(channel, count=None):
    """Shows each state. A program shows that inkand is away when this ends
    with UNAVAILABLE, waits a moment and calls it again."""
    most = int(count or 0)
    stub = status_pb2_grpc.StatusServiceStub(channel)
    for i, update in enumerate(stub.WatchStatus(status_pb2.WatchStatusRequest(), metadata=metadata()), 1):
        cards = [f"{c.company} {types_pb2.CardState.Name(c.state)}" for c in update.status.cards]
        print(update.sequence, ", ".join(cards) or "no card", flush=True)
        if i == most:
            return


@contextlib.contextmanager
def prompt():
    """The id of an inkan-prompt that asks at this terminal, for as long as the
    block runs. A program of a desktop needs none: it names no agent, and the
    prompt of the person's session is asked."""
    ready, ready_theirs = os.pipe()
    life_theirs, life = os.pipe()
    child = subprocess.Popen(
        [PROMPT, "--socket", os.path.abspath(PIN_SOCKET), "--ready-fd", str(ready_theirs),
         "--life-fd", str(life_theirs), "--lang", LANGUAGE],
        env={}, pass_fds=(ready_theirs, life_theirs))
    os.close(ready_theirs)
    os.close(life_theirs)
    try:
        with os.fdopen(ready) as lines:
            agent = lines.readline().strip()
        if not agent:
            sys.exit("inkan-prompt did not start")
        yield agent
    finally:
        os.close(life)  # it ends when nobody needs it any more
        child.wait(timeout=5)


def sign(channel, slot, path):
    key = next((k for k in list_keys(channel) if k.slot == slot), None)
    if key is None:
        sys.exit(f"no key in slot {slot}")
    algorithm = next(a for a in key.algorithms if types_pb2.Algorithm.Name(a).endswith("SHA256"))
    with open(path, "rb") as document:
        digest = hashlib.sha256(document.read()).digest()  # the document stays here
    with prompt() as agent:
        # No deadline shorter than a person needs, and never a second call by
        # itself: a wrong PIN has spent a try.
        answer = signing_pb2_grpc.SigningServiceStub(channel).Sign(
            signing_pb2.SignRequest(key_id=key.id, algorithm=algorithm, digest=digest,
                                    document_name=os.path.basename(path)),
            metadata=metadata(agent), timeout=180)
    with open(path + ".sig", "wb") as out:
        out.write(answer.signature)
    print(f"{path}.sig, {types_pb2.Algorithm.Name(algorithm)}, record {answer.record}")


def main():
    commands = {"keys": (keys, 0, 0), "watch": (watch, 0, 1), "sign": (sign, 2, 2)}
    name, arguments = (sys.argv + [""])[1], sys.argv[2:]
    if name not in commands or not commands[name][1] <= len(arguments) <= commands[name][2]:
        sys.exit(__doc__)
    try:
        with connect() as channel:
            commands[name][0](channel, *arguments)
    except grpc.RpcError as error:
        # "INK-1001 ..." in the person's language; for inkand's own errors the
        # trailing metadata grpc-status-details-bin has reason and next step.
        sys.exit(f"{error.code().name}: {error.details()}")
    except (OSError, ValueError) as error:  # a file, the socket, or a COUNT that is no number
        sys.exit(str(error))


if __name__ == "__main__":
    main()
