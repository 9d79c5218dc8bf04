package requirements

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	rustup = "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --default-toolchain none"
	asRoot = "run this as root; or set KUBECONFIG or DEMO_CONTEXT for 'make demo' on a cluster of yours; 'make lint unit api' need no root"
	noRoot = "root: the local cluster makes containers, cgroups and addresses"
	noRust = "Rust is missing: rustup, which brings Rust 1.95.0"
)

// taken names ports in the environment of a program that this test starts by itself, in namespaces of a machine.
const taken = "PREFLIGHT_TEST_TAKEN_PORTS"

func TestMain(m *testing.M) {
	if ports := os.Getenv(taken); ports != "" {
		os.Exit(withPortsTaken(strings.Fields(ports), os.Args[1:]))
	}
	os.Exit(m.Run())
}

// withPortsTaken gives the exit code of a program beside which somebody listens there.
func withPortsTaken(ports, words []string) int {
	for _, port := range ports {
		// the kernel takes connections for it
		listener, err := net.Listen("tcp4", "127.0.0.1:"+port)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 2
		}
		defer listener.Close()
	}
	command := exec.Command(words[0], words[1:]...)
	command.Stderr = os.Stderr
	if err := command.Run(); err != nil && command.ProcessState == nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	return command.ProcessState.ExitCode()
}

// machine is this one, seen by somebody with a home of their own: programs are the links in bin, and no others.
type machine struct {
	*testing.T
	home, bin string
	env       []string
	// what runs before preflight.sh, in namespaces of its own
	prepare string
}

// here has all programs of the list, apart from these, and is root's. Nothing can be installed on it.
func here(t *testing.T, without ...string) *machine {
	t.Helper()
	// a short path, because sockets will lie below
	folder, err := os.MkdirTemp("", "")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(folder)) })
	m := &machine{T: t, home: filepath.Join(folder, "home"), bin: filepath.Join(folder, "bin")}
	for _, name := range []string{m.home, m.bin} {
		must(t, os.Mkdir(name, 0o755))
	}
	for _, requirement := range list(t) {
		for _, program := range requirement.Provides {
			if strings.HasPrefix(program, "/") || slices.Contains(without, program) || slices.Contains(without, requirement.Source) {
				continue
			}
			if found, err := exec.LookPath(program); err == nil {
				must(t, os.Symlink(found, filepath.Join(m.bin, program)))
			}
		}
	}
	m.script("id", "echo 0")
	// room enough, however full this machine is
	m.script("df", `case $* in *output=avail*) echo Avail; echo 1000000 ;; *) exec `+df(t)+` "$@" ;; esac`)
	if !slices.Contains(without, "apt") {
		m.script("apt-get", "echo apt-get was asked; exit 100")
	}
	toolchains := os.Getenv("RUSTUP_HOME")
	if toolchains == "" {
		home, err := os.UserHomeDir()
		must(t, err)
		toolchains = filepath.Join(home, ".rustup")
	}
	m.env = []string{"HOME=" + m.home, "PATH=" + m.bin, "RUSTUP_HOME=" + toolchains,
		// where nothing is to be had, and at once
		"RUSTUP_DIST_SERVER=file:///nowhere", "RUSTUP_MAX_RETRIES=0", "GOTOOLCHAIN=local"}
	return m
}

func df(t *testing.T) string {
	path, err := exec.LookPath("df")
	must(t, err)
	return path
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// script takes the place of a program.
func (m *machine) script(name, text string) {
	m.Helper()
	path := filepath.Join(m.bin, name)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		m.Fatal(err)
	}
	must(m.T, os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755))
}

// preflight gives what a user reads, and the exit code.
func (m *machine) preflight(steps ...string) (string, int) {
	m.Helper()
	words := append([]string{"/bin/bash", filepath.Join(Repository(), "deploy/local/preflight.sh")}, steps...)
	prepare := m.prepare
	if prepare == "" && os.Geteuid() == 0 {
		// a network of its own: a cluster that runs on this machine has addresses that a second one wants
		prepare = "true"
	}
	if prepare != "" {
		spaces := []string{"unshare", "--mount", "--net"}
		if os.Geteuid() != 0 {
			spaces = append(spaces, "--map-root-user")
		}
		words = slices.Concat(spaces, []string{"sh", "-c", prepare + ` && exec "$@"`, "sh"}, words)
	}
	command := exec.Command(words[0], words[1:]...)
	command.Env = m.env
	var said bytes.Buffer
	command.Stderr = &said
	// what it started may hold the pipe a moment longer
	command.WaitDelay = time.Second
	if err := command.Run(); err != nil && command.ProcessState == nil {
		m.Fatal(err)
	}
	return anyTime(said.String()), command.ProcessState.ExitCode()
}

// anyTime takes the times out of what was said.
func anyTime(said string) string { return duration.ReplaceAllString(said, "N s") }

var duration = regexp.MustCompile(`([0-9]+ min )?[0-9]+ s\b`)

// refused is what a user reads of these needs, as text and remedy in turns.
func refused(steps string, needs ...string) string {
	text := fmt.Sprintf("preflight: this machine is not ready for: %s\n", steps)
	for i := 0; i < len(needs); i += 2 {
		text += fmt.Sprintf("preflight: %d. %s\npreflight:    do: %s\n", i/2+1, needs[i], needs[i+1])
	}
	return text + fmt.Sprintf("preflight: error: %d of its needs are not met; nothing was started\n", len(needs)/2)
}

func (m *machine) expect(steps string, wantedCode int, wanted string) {
	m.Helper()
	said, code := m.preflight(strings.Fields(steps)...)
	if said != wanted || code != wantedCode {
		m.Errorf("exit code %d, wanted %d:\n%s\nwanted:\n%s", code, wantedCode, said, wanted)
	}
}

// fails says these lines first and last: in between stand another program's own words.
func (m *machine) fails(steps, first, last string) {
	m.Helper()
	said, code := m.preflight(strings.Fields(steps)...)
	if code != 1 || !strings.HasPrefix(said, first) || !strings.HasSuffix(said, last) {
		m.Errorf("exit code %d:\n%s\nwanted first:\n%s\nwanted last:\n%s", code, said, first, last)
	}
}

// goVersion is the newest that a go.mod of the repository asks for.
func goVersion(t *testing.T) string {
	t.Helper()
	var newest string
	for _, pattern := range []string{"deploy/local/tools/*/go.mod", "tests/*/go.mod"} {
		names, err := filepath.Glob(filepath.Join(Repository(), pattern))
		must(t, err)
		for _, name := range names {
			text, err := os.ReadFile(name)
			must(t, err)
			for line := range strings.Lines(string(text)) {
				if version, ok := strings.CutPrefix(strings.TrimSpace(line), "go "); ok && version > newest {
					newest = version
				}
			}
		}
	}
	return newest
}

func noGo(t *testing.T) string {
	return "Go is missing: " + goVersion(t) + " or newer (Debian's own is older)"
}

func fetchGo(t *testing.T) string {
	return fmt.Sprintf("curl -sSfL https://go.dev/dl/go%s.linux-amd64.tar.gz | tar -C /usr/local -xz && export PATH=/usr/local/go/bin:$PATH", goVersion(t))
}

// A step that preflight.sh does not know would end a script of its own.
func TestAllStepsAreKnown(t *testing.T) {
	steps, err := Preflights()
	must(t, err)
	for _, requirement := range list(t) {
		steps = append(steps, requirement.Steps...)
	}
	slices.Sort(steps)
	if said, _ := here(t).preflight(slices.Compact(steps)...); strings.Contains(said, "there is no step") {
		t.Error(said)
	}
}

func TestNothingIsSaidWhereAllIsThere(t *testing.T) {
	here(t).expect("unit", 0, "")
}

func TestWithoutRustup(t *testing.T) {
	here(t, "rust").expect("unit", 1, refused("unit", noRust, rustup))
}

func TestWithoutRustupButWithRust(t *testing.T) {
	m := here(t, "rust")
	m.script("cargo", "exit 1")
	folder := t.TempDir()
	const rustc = `case $* in --version) echo "rustc %s (of somebody)" ;; *) echo %s ;; esac`
	m.script("rustc", fmt.Sprintf(rustc, "1.95.0", folder))
	m.expect("build go", 0, "")
	m.script("rustc", fmt.Sprintf(rustc, "1.96.1", folder))
	m.expect("build", 0, "")
	m.expect("licences", 0, "")
	m.expect("formats", 1, refused("formats", "Rust 1.95.0 is missing: the one on the PATH is 1.96.1, and not rustup's", rustup))
	m.script("rustc", fmt.Sprintf(rustc, "1.63.0", folder))
	m.expect("build", 1, refused("build", "Rust 1.95.0 is missing: the one on the PATH is 1.63.0, and not rustup's", rustup))
	m.script("rustc", fmt.Sprintf(rustc, "1.95.0", "/nowhere"))
	m.expect("build", 1, refused("build", "the Rust on the PATH has no target wasm32-wasip2, and rustup is missing, which could add it", rustup))
}

func TestWithoutToolchain(t *testing.T) {
	m := here(t)
	m.env = append(m.env, "RUSTUP_HOME="+t.TempDir())
	command := "rustup toolchain install 1.95.0 --no-self-update --profile minimal --component clippy --component rustfmt --target wasm32-wasip2"
	m.fails("build", "preflight: Rust 1.95.0 is missing: "+command+"\n",
		"preflight: error: Rust 1.95.0 is missing, and rustup could not install it\npreflight: do: "+command+"\n")
}

func TestToolchainWithoutTarget(t *testing.T) {
	m := here(t)
	m.env = append(m.env, "RUSTUP_HOME="+linkedToolchain(t))
	m.fails("build", "preflight: Rust 1.95.0 has no target wasm32-wasip2: rustup target add --toolchain 1.95.0 wasm32-wasip2\n",
		"preflight: error: Rust 1.95.0 has no target wasm32-wasip2, and rustup could not install it\n"+
			"preflight: do: rustup target add --toolchain 1.95.0 wasm32-wasip2\n")
}

// linkedToolchain is a rustup home whose toolchain is this machine's by links, as rustup sees it without the target.
func linkedToolchain(t *testing.T) string {
	t.Helper()
	path, err := exec.Command("rustup", "which", "rustc", "--toolchain", "1.95.0").Output()
	must(t, err)
	toolchain, err := filepath.EvalSymlinks(filepath.Join(string(bytes.TrimSpace(path)), "../.."))
	must(t, err)
	home := t.TempDir()
	link := filepath.Join(home, "toolchains/1.95.0-x86_64-unknown-linux-gnu")
	const rustlib = "lib/rustlib"
	must(t, os.MkdirAll(filepath.Join(link, rustlib), 0o755))
	must(t, os.Symlink(filepath.Join(toolchain, "bin"), filepath.Join(link, "bin")))
	entries, err := os.ReadDir(filepath.Join(toolchain, rustlib))
	must(t, err)
	for _, entry := range entries {
		name := filepath.Join(rustlib, entry.Name())
		if strings.Contains(name, "wasm32") {
			continue
		}
		if entry.Name() != "multirust-config.toml" && entry.Name() != "components" {
			must(t, os.Symlink(filepath.Join(toolchain, name), filepath.Join(link, name)))
			continue
		}
		text, err := os.ReadFile(filepath.Join(toolchain, name))
		must(t, err)
		text = bytes.ReplaceAll(text, []byte("[[components]]\npkg = \"rust-std\"\ntarget = \"wasm32-wasip2\"\nis_extension = false\n"), nil)
		text = bytes.ReplaceAll(text, []byte("rust-std-wasm32-wasip2\n"), nil)
		must(t, os.WriteFile(filepath.Join(link, name), text, 0o644))
	}
	must(t, os.WriteFile(filepath.Join(home, "settings.toml"), []byte("version = \"12\"\n"), 0o644))
	return home
}

func TestWithoutGo(t *testing.T) {
	here(t, "go").expect("unit", 1, refused("unit", noGo(t), fetchGo(t)))
	here(t, "go").expect("build", 0, "")
}

func TestWithAnOldGo(t *testing.T) {
	m := here(t)
	m.script("go", `case $* in *GOVERSION) echo go1.24.1 ;; *GOTOOLCHAIN) echo $GOTOOLCHAIN ;; *) echo "$HOME/go" ;; esac`)
	m.expect("unit", 1, refused("unit", "Go "+goVersion(t)+" or newer is missing: this one is 1.24.1", fetchGo(t)))
	// one that fetches a newer one by itself will do
	m.env = append(m.env, "GOTOOLCHAIN=auto")
	m.expect("unit", 0, "")
}

func TestWithAFullDisk(t *testing.T) {
	m := here(t)
	m.script("df", "exec "+df(t)+` "$@"`)
	full := t.TempDir()
	m.env = append(m.env, "XDG_CACHE_HOME="+full, "CARGO_TARGET_DIR="+full+"/target")
	m.prepare = "mount -t tmpfs -o size=64m none " + full
	m.expect("build", 1, refused("build",
		"disk: 11 GB are needed on "+full+" (for "+full+", "+full+"/kubeopencode), 0 GB are free",
		"make space there, or set XDG_CACHE_HOME, CARGO_TARGET_DIR or GOCACHE to folders elsewhere"))
}

func TestWithLittleMemory(t *testing.T) {
	m := here(t)
	little := filepath.Join(t.TempDir(), "meminfo")
	must(t, os.WriteFile(little, []byte("MemTotal:        2000000 kB\n"), 0o644))
	m.prepare = "mount --bind " + little + " /proc/meminfo"
	m.expect("build", 1, refused("build", "memory: 4 GB are needed, this machine has 2 GB", "give it more"))
}

func TestNotRoot(t *testing.T) {
	m := here(t, "jq", "make")
	m.script("id", "echo 1000")
	m.expect("build", 1, refused("build", "missing packages: jq make", "sudo apt-get install --no-install-recommends jq make"))
	m = here(t)
	m.script("id", "echo 1000")
	m.expect("root", 1, refused("root", noRoot, asRoot))
}

func TestWithoutDebian(t *testing.T) {
	here(t, "jq", "apt").expect("build", 1, refused("build", "missing packages, by Debian's names: jq",
		"install them; on Debian: apt-get install --no-install-recommends jq"))
}

func TestALongPath(t *testing.T) {
	m := here(t)
	long := m.home + strings.Repeat("/folder", 9)
	m.env = append(m.env, "XDG_CACHE_HOME="+long)
	m.expect("root", 1, refused("root", "the path "+long+"/kubeopencode is too long for unix sockets", "set XDG_CACHE_HOME to a shorter path"))
}

func TestAddressesInUse(t *testing.T) {
	m := here(t)
	m.prepare = "ip link set lo up && ip address add 10.244.255.1/32 dev lo"
	m.expect("root", 1, refused("root", "another local cluster holds the address 10.244.255.1 on this machine",
		"take it down, with its own cluster.sh down; if there is none: ip address del 10.244.255.1/32 dev lo"))
	m.prepare = "ip link set lo up && ip address add 10.244.0.7/24 dev lo"
	m.expect("root", 1, refused("root", "the network of the Pods, 10.244.0.0/24, is used by an interface of this machine",
		"take that interface down: ip route show to match 10.244.0.1"))
	// a cluster of this home's own
	cluster := filepath.Join(m.home, ".cache/kubeopencode/clusters/local")
	must(t, os.MkdirAll(cluster, 0o755))
	must(t, os.WriteFile(filepath.Join(cluster, "node-address"), nil, 0o644))
	m.expect("root", 0, "")
}

// A cluster has ten ports in a row for itself.
func TestPortsInUse(t *testing.T) {
	m := here(t)
	m.script("openssl", "exit 1")
	test, err := os.Executable()
	must(t, err)
	m.prepare = "ip link set lo up && exec '" + test + `' "$@"`
	env := m.env
	var ports []string
	for block := 16440; block <= 17440; block += 10 {
		ports = append(ports, strconv.Itoa(block+block/10%10))
	}
	taking := func(ports ...string) { m.env = append(slices.Clone(env), taken+"="+strings.Join(ports, " ")) }
	taking(ports...)
	m.expect("control-plane", 1, refused("control-plane", "ports: no ten in a row are free between 16440 and 17449", "end what listens there: ss -ltnp"))
	// the last ten are enough
	taking(ports[:len(ports)-1]...)
	m.expect("control-plane", 0, "")
	// a cluster of this home's own has its ports, and no others are wanted
	taking(ports...)
	cluster := filepath.Join(m.home, ".cache/kubeopencode/clusters/local")
	must(t, os.MkdirAll(cluster, 0o755))
	must(t, os.WriteFile(filepath.Join(cluster, "ports"), nil, 0o644))
	m.expect("control-plane", 0, "")
}

// One run names it all, and nothing of it is begun.
func TestAllThatIsMissingIsNamedAtOnce(t *testing.T) {
	m := here(t, "rust", "go", "git", "jq")
	m.script("id", "echo 1000")
	m.expect("build go root", 1, refused("build go root",
		"missing packages: git jq", "sudo apt-get install --no-install-recommends git jq",
		noRust, rustup, noGo(t), fetchGo(t), noRoot, asRoot))
	m.script("id", "echo 0")
	m.expect("unit", 1, refused("unit",
		"missing packages: git jq", "apt-get install --no-install-recommends git jq (done here as soon as the rest is there)",
		noRust, rustup, noGo(t), fetchGo(t)))
}

func TestRootGetsDebiansPackages(t *testing.T) {
	m := here(t, "jq", "git")
	m.script("apt-get", `echo "$@" >>"$HOME/apt-get"`)
	m.expect("build", 0, "preflight: apt-get install --no-install-recommends git jq\npreflight: installing Debian packages: done in N s\n")
	asked, err := os.ReadFile(filepath.Join(m.home, "apt-get"))
	must(t, err)
	if wanted := "update -qq\ninstall -y -qq --no-install-recommends git jq\n"; string(asked) != wanted {
		t.Errorf("apt-get was asked:\n%s\nwanted:\n%s", asked, wanted)
	}
	m.script("apt-get", "echo 'E: Unable to fetch'; exit 100")
	m.fails("build", "preflight: apt-get install --no-install-recommends git jq\n",
		"    E: Unable to fetch\npreflight: error: apt-get could not install git jq\npreflight: do: repair what apt-get says, then run this again\n")
}
