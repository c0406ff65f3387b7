package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/cardprofile"
)

// Config is everything that can be set. Zero values mean the default named.
type Config struct {
	// StateDir holds the PIN-try journal, the log and the register. It belongs
	// to inkand's user alone. Default /var/lib/inkan.
	StateDir string `toml:"state_dir"`
	// Socket is where programs call (gRPC). Default /run/inkan/inkan.sock.
	Socket string `toml:"socket"`
	// PINSocket is where PIN agents connect. Default: pin.sock beside Socket.
	PINSocket string `toml:"pin_socket"`
	// SignerGroup is the group whose members sign. Default "inkan".
	SignerGroup string `toml:"signer_group"`
	// PromptGroup is the group of the trusted prompt helper. Default
	// "inkan-prompt".
	PromptGroup string `toml:"prompt_group"`
	// AllowVirtual false refuses virtual cards whatever the command line says.
	// Default: as the command line says.
	AllowVirtual *bool `toml:"allow_virtual"`

	PIN     PINConfig     `toml:"pin"`
	Card    CardConfig    `toml:"card"`
	Virtual VirtualConfig `toml:"virtual"`

	// PKCS11 are the modules of card vendors that inkand may use, in the order in
	// which they are asked about a card. Default: none.
	PKCS11 []PKCS11Config `toml:"pkcs11"`
	Limits LimitsConfig   `toml:"limits"`
}

// PINConfig is about PIN entry.
type PINConfig struct {
	// ProgramSource lets programs give PINs (--pin-fd, SDK), but never for the
	// last three tries. Default false.
	ProgramSource bool `toml:"program_source"`
	// TrustedAgents are executables, besides those of PromptGroup, whose PINs
	// count as entered by a person. Each belongs to root or inkand's user, and
	// nobody else can write to it. A process counts as one while it runs that
	// very file, not one that only shows its path. Default: none.
	TrustedAgents []string `toml:"trusted_agents"`
	// PromptTimeout is the time to enter a PIN, for example "2m" (the default).
	PromptTimeout Duration `toml:"prompt_timeout"`
	// Memory forces where PINs are kept: "memfd_secret" or "mlock". Default:
	// memfd_secret where the kernel has it, else mlock.
	Memory string `toml:"memory"`
}

// CardConfig is about all cards.
type CardConfig struct {
	// Idle is how long a card is kept after a use. Default "5s".
	Idle Duration `toml:"idle"`
	// Hold "always" keeps cards for good, so that no other program can use
	// them. Default "idle": for the idle time.
	Hold string `toml:"hold"`
	// CommandTimeout is how long one command may take. Default "30s".
	CommandTimeout Duration `toml:"command_timeout"`
	// Exclusive are the readers that no other program may use, as `inkan setup
	// exclusive` writes them beside the polkit rule that sees to it: status shows
	// it. A name without its last two numbers means all readers of that name.
	// Default: none.
	Exclusive []string `toml:"exclusive"`
	// Profiles is a folder of card profiles (*.toml) beside the shipped ones.
	// Default: none.
	Profiles string `toml:"profiles"`
}

// VirtualConfig is about the embedded virtual card.
type VirtualConfig struct {
	// Keys says which slots the card is made with on first start: slot to key
	// type, for example {"9a" = "P-256", "9c" = "RSA-2048"}.
	Keys map[string]string `toml:"keys"`
}

// Duration is a time span, written as "5s" or "2m30s".
type Duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v <= 0 {
		return fmt.Errorf("%q is not a time span such as \"5s\" or \"2m\"", text)
	}
	*d = Duration(v)
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// maxConfig is the largest configuration file that is read, in bytes.
const maxConfig = 64 << 10

// Load reads configuration files strictly: a key that is not known is an error
// with its line. What a later file sets takes the place of what an earlier one
// did; a list as a whole. Errors are [*token.Error] of kind KindConfigInvalid.
func Load(path string, more ...string) (Config, error) {
	var cfg Config
	for _, p := range append([]string{path}, more...) {
		if err := cfg.read(p); err != nil {
			return Config{}, err
		}
	}
	return cfg, cfg.check()
}

// read adds what one file sets.
func (c *Config) read(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return invalid("%v", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxConfig {
		return invalid("%s is not a file of at most %d bytes", path, maxConfig)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return invalid("%v", err)
	}
	decoder := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields()
	if err := decoder.Decode(c); err != nil {
		return invalid("%s: %s", path, cardprofile.Explain(err))
	}
	return nil
}

// check returns KindConfigInvalid for values that cannot work.
func (c Config) check() error {
	for name, path := range map[string]string{"state_dir": c.StateDir, "socket": c.Socket, "pin_socket": c.PINSocket, "card.profiles": c.Card.Profiles} {
		if path != "" && !filepath.IsAbs(path) {
			return invalid("%s = %q is not an absolute path", name, path)
		}
	}
	for _, path := range c.PIN.TrustedAgents {
		if err := checkExecutable(path); err != nil {
			return invalid("pin.trusted_agents: %v", err)
		}
	}
	if m := c.PIN.Memory; m != "" && m != "memfd_secret" && m != "mlock" {
		return invalid("pin.memory = %q is neither \"memfd_secret\" nor \"mlock\"", m)
	}
	if h := c.Card.Hold; h != "" && h != "idle" && h != "always" {
		return invalid("card.hold = %q is neither \"idle\" nor \"always\"", h)
	}
	if _, err := c.Virtual.layout(); err != nil {
		return err
	}
	profiles, err := cardprofile.Load(c.Card.Profiles)
	if err != nil {
		return err
	}
	if err := c.Limits.check(); err != nil {
		return err
	}
	return errors.Join(checkModules(c.PKCS11, profiles), c.checkWritable())
}

// withDefaults fills in what was not set.
func (c Config) withDefaults() Config {
	set := func(value *string, def string) {
		if *value == "" {
			*value = def
		}
	}
	set(&c.StateDir, "/var/lib/inkan")
	set(&c.Socket, "/run/inkan/inkan.sock")
	set(&c.PINSocket, filepath.Join(filepath.Dir(c.Socket), "pin.sock"))
	set(&c.SignerGroup, "inkan")
	set(&c.PromptGroup, "inkan-prompt")
	span := func(value *Duration, def time.Duration) {
		if *value == 0 {
			*value = Duration(def)
		}
	}
	span(&c.PIN.PromptTimeout, 2*time.Minute)
	span(&c.Card.Idle, 5*time.Second)
	span(&c.Card.CommandTimeout, 30*time.Second)
	return c
}

// checkExecutable returns nil for a program that only root and inkand's user
// can change.
func checkExecutable(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("%q is not an absolute path", path)
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() || info.Mode().Perm()&0o022 != 0 || st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s is not a program that only root or inkand's user can change", path)
	}
	return nil
}

func invalid(format string, args ...any) error {
	return token.Errorf(token.KindConfigInvalid, format, args...)
}
