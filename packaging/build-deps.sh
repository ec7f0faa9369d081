# Sourced by ./quickstart and ./check: the packages, by what needs them, and the
# two builds. Nothing here is needed to run an installed package.

BUILD_PACKAGES=(
  cmake ninja-build gcc libc6-dev pkg-config
  libevent-dev libsqlite3-dev libprotobuf-c-dev protobuf-c-compiler libjansson-dev libyajl-dev
  libhttp-parser-dev libsystemd-dev libcrypt-dev zlib1g-dev
  libcurl4-openssl-dev libssl-dev
  libzstd-dev
)
TEST_PACKAGES=(openssl libcmocka-dev python3 python3-venv sqlite3 procps mandoc zsh wrk clang libclang-rt-14-dev)
# For machines of their own under a real systemd, and the packages that are tried there.
TEST_PACKAGES+=(mmdebstrap systemd-container iproute2 dpkg-dev lintian rpm rpmlint)

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

may_install() {
  [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null
}

# Installs what is missing; asks nothing of the network when all is there.
install_packages() {
  local missing=() name
  for name in "$@"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || missing+=("$name")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  if ! may_install; then
    echo "These packages are missing, and installing them takes root or sudo: ${missing[*]}" >&2
    return 1
  fi
  echo "Installing: ${missing[*]}"
  as_root apt-get update -qq &&
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# Runs a build and shows what it printed only if it fails.
quietly() {
  local log
  log=$(mktemp)
  if "$@" >"$log" 2>&1; then
    rm -f "$log"
  else
    cat "$log" >&2
    rm -f "$log"
    return 1
  fi
}

build_release() {
  echo "Building in build/ ..."
  quietly cmake -G Ninja -S . -B build -DCMAKE_BUILD_TYPE=Release && quietly cmake --build build
}

# With tests, assertions of the sanitizers, and debug information.
build_checked() {
  echo "Building in build-check/ ..."
  quietly cmake -G Ninja -S . -B build-check -DCMAKE_BUILD_TYPE=Debug -DRQ_TESTS=ON -DRQ_SANITIZE=address,undefined &&
    quietly cmake --build build-check
}

# The simulator alone, optimised: it is to try as many seeds as it can.
build_simulator() {
  echo "Building in build-sim/ ..."
  quietly cmake -G Ninja -S . -B build-sim -DCMAKE_BUILD_TYPE=RelWithDebInfo -DRQ_TESTS=ON &&
    quietly cmake --build build-sim --target rq-sim
}

# The published client library that a test drives us with.
prepare_venv() {
  [ -x .venv/bin/python ] && .venv/bin/python -c 'import pyrqlite' 2>/dev/null && return 0
  python3 -m venv .venv && .venv/bin/pip install -q pyrqlite==2.2.3
}
