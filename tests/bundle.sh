#!/usr/bin/env bash
# Packs the product with `cargo xtask bundle`, unpacks it outside the repository, and runs it there
# as a machine without Rust would: with an empty environment, beside a virtual environment's torch.
#
#     tests/bundle.sh
#
# The virtual environment holds what the search for torch looks at and what the worker loads: a
# package `torch` with `version.py` and `lib`, the latter linked to the libraries behind .libtorch.
# A real one is hundreds of megabytes to fetch.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() {
  echo "bundle: $1" >&2
  exit 1
}

# not_packed: no archive was made. On a Linux newer than those bundles are made on, that is right.
not_packed() {
  cat "$scratch/log" >&2
  grep -qF "build it on an older Linux" "$scratch/log" || fail "no archive was made"
  echo "skipped: this machine's libraries are newer than those that bundles are for"
  exit 0
}

# pack NAME BYTES [OPTION]: makes an archive of at most so many bytes, and unpacks it into its own
# folder.
pack() {
  cargo xtask bundle --out "$scratch/$1.tar.xz" "${@:3}" 2>"$scratch/log" || not_packed
  local bytes
  bytes=$(stat -c %s "$scratch/$1.tar.xz")
  [ "$bytes" -le "$2" ] || fail "the archive $1 has $bytes bytes, at most $2"
  mkdir "$scratch/$1"
  tar --extract --xz --file "$scratch/$1.tar.xz" --directory "$scratch/$1"
}

# bare COMMAND…: runs it where nothing of the repository, of cargo or of the user is in reach.
bare() {
  (cd "$scratch/elsewhere" && env -i HOME="$scratch/home" PATH=/usr/bin:/bin "$@")
}

# refused CODE TEXT COMMAND…: the command ends with this code and says this.
refused() {
  local code=0
  bare "${@:3}" 2>"$scratch/said" || code=$?
  [ "$code" -eq "$1" ] || fail "exit code $code instead of $1: $(cat "$scratch/said")"
  grep -qF -- "$2" "$scratch/said" || fail "'$2' is not in: $(cat "$scratch/said")"
}

mkdir "$scratch/home" "$scratch/elsewhere"
pack plain 16000000
pack models 48000000 --with-models
root=$(echo "$scratch"/models/harness-*-x86_64-linux)
plain=$(echo "$scratch"/plain/harness-*-x86_64-linux)
for file in README.md LICENSE plugins/models/dream/plugin.toml benchmarks/tables/table2.toml; do
  [ -f "$plain/$file" ] || fail "the archive has no $file"
done
[ ! -e "$plain/benchmarks/zoo" ] || fail "the archive without models has models"

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
said=$(bare "$root/bin/harness" --version)
[ "$said" = "harness $version" ] || fail "--version says '$said', the repository is $version"

small=(bench table2 --rows dream-mask --layers 2 --k 8 --limit 2 --n-prefix 2 --dlm-steps 4
  --max-new-tokens 8 --budget-tokens 2000 --threads 1)
bundled=(env HARNESS_PLUGINS="$root/plugins" "$root/bin/harness" "${small[@]}")
# Without any torch, the message says how to get one.
refused 22 "pip install torch==2.11.0" env PATH=/nowhere "$root/bin/harness" plugins list \
  --plugins "$root/plugins"

python3 -m venv --without-pip "$scratch/env"
packages=$("$scratch/env/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
mkdir "$packages/torch"
touch "$packages/torch/__init__.py"
ln -s "$(readlink -f .libtorch)/lib" "$packages/torch/lib"

# One of another version is refused, the right one gives what the repository gives.
echo "__version__ = '2.6.0+cpu'" >"$packages/torch/version.py"
refused 22 "is 2.6.0, this build needs 2.11.0" env VIRTUAL_ENV="$scratch/env" "${bundled[@]}"
echo "__version__ = '2.11.0+cpu'" >"$packages/torch/version.py"
bare env VIRTUAL_ENV="$scratch/env" "${bundled[@]}" --out "$scratch/theirs" >/dev/null
target/release/harness "${small[@]}" --plugins plugins --out "$scratch/ours" >/dev/null
cmp "$scratch/ours/table2.csv" "$scratch/theirs/table2.csv" || fail "the tables differ"
echo "bundle: the table of the unpacked archive equals the repository's"

# The doctor finds that torch, every plugin and the models of the archive.
bare env VIRTUAL_ENV="$scratch/env" HARNESS_PLUGINS="$root/plugins" "$root/bin/harness" doctor \
  --json >"$scratch/doctor.json" || fail "the doctor: $(cat "$scratch/doctor.json")"
python3 - "$scratch/doctor.json" <<'END' || fail "the doctor: $(cat "$scratch/doctor.json")"
import json, sys

report = json.load(open(sys.argv[1]))
assert report["libtorch"]["version"].startswith("2.11.0"), report["libtorch"]
assert report["plugins"]["loaded"] and not report["plugins"]["refused"], report["plugins"]
assert report["parity"]["models"] and report["peak"]["f32_gflops"] > 0, report["parity"]
END
echo "bundle: the doctor of the unpacked archive finds nothing wrong"
