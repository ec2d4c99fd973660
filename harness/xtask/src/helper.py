"""Carries out what xtask decided; each task answers with one JSON value on stdout."""
import ctypes, importlib.util, json, os, shutil, sys, zipfile


def list_(wheel):
    with zipfile.ZipFile(wheel) as z:
        return z.namelist()


def unpack(wheel, into):
    with zipfile.ZipFile(wheel) as z:
        for name, to in json.load(sys.stdin):
            path = os.path.join(into, to)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with z.open(name) as source, open(path, "wb") as out:
                shutil.copyfileobj(source, out, 1 << 20)


def exchange(a, b):
    try:
        here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
        return ctypes.CDLL(None).renameat2(here, os.fsencode(a), here, os.fsencode(b), swap) == 0
    except (AttributeError, OSError):
        return False


def torch():
    spec = importlib.util.find_spec("torch")
    return spec.submodule_search_locations[0] if spec and spec.submodule_search_locations else None


tasks = {"list": list_, "unpack": unpack, "exchange": exchange, "torch": torch}
json.dump(tasks[sys.argv[1]](*sys.argv[2:]), sys.stdout)
