package daemon

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/cardowner"
	"github.com/inkan-project/inkan/daemon/internal/register"
	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/cardprofile"
	"github.com/inkan-project/inkan/token/p11"
)

// PKCS11Config is one PKCS#11 module of a card vendor.
type PKCS11Config struct {
	// Name is what people read, for example "opensc". Each has another one.
	Name string `toml:"name"`
	// Module is the library, or a link to it. The file belongs to root or inkand's
	// user, and nobody else can write to it.
	Module string `toml:"module"`
	// Via says where its cards are: "pcsc" (the default) in the readers of PC/SC,
	// "own" in readers of its own, as with SoftHSM.
	Via string `toml:"via"`
	// Takes says which cards of PC/SC it gets: "unknown" (the default) those that
	// inkand cannot use by itself, "all" those, too, that it could.
	Takes string `toml:"takes"`
	// Token picks one of several tokens. Default: the only one.
	Token struct {
		Label        string `toml:"label"`
		Manufacturer string `toml:"manufacturer"`
		Model        string `toml:"model"`
		Serial       string `toml:"serial"`
	} `toml:"token"`
	// Profile is the card profile (application "PKCS#11") of its cards. Default:
	// as the profiles say, else "pkcs11": three tries.
	Profile string `toml:"profile"`
	// Environment is what the module finds in its environment. Default: nothing.
	Environment map[string]string `toml:"environment"`
	// Writable are folders that it may write to. Default: none.
	Writable []string `toml:"writable"`
	// Timeout is how long one call may take, for example "1m". Default: as for a
	// card's command.
	Timeout Duration `toml:"timeout"`
}

// Values of Via and Takes.
const (
	viaPCSC      = "pcsc"
	viaOwn       = "own"
	takesUnknown = "unknown"
	takesAll     = "all"
)

// checkModules returns KindConfigInvalid for modules that cannot work.
func checkModules(modules []PKCS11Config, profiles *cardprofile.Set) error {
	names := map[string]bool{}
	for i, m := range modules {
		where := cmp.Or(m.Name, "number "+string(rune('1'+min(i, 8))))
		if !regexp.MustCompile(`^[A-Za-z0-9._-]{1,40}$`).MatchString(m.Name) || names[m.Name] {
			return invalid("pkcs11 %s: name = %q must have 1 to 40 letters and digits, and be the only one", where, m.Name)
		}
		names[m.Name] = true
		if _, err := library(m.Module); err != nil {
			return invalid("pkcs11 %s: module: %v", where, err)
		}
		if v := m.Via; v != "" && v != viaPCSC && v != viaOwn {
			return invalid("pkcs11 %s: via = %q is neither %q nor %q", where, v, viaPCSC, viaOwn)
		}
		if t := m.Takes; t != "" && t != takesUnknown && t != takesAll {
			return invalid("pkcs11 %s: takes = %q is neither %q nor %q", where, t, takesUnknown, takesAll)
		}
		if _, ok := profiles.Named(m.Profile); m.Profile != "" && !ok {
			return invalid("pkcs11 %s: there is no card profile %q of application %q", where, m.Profile, cardprofile.PKCS11)
		}
		if err := m.checkCage(); err != nil {
			return invalid("pkcs11 %s: %v", where, err)
		}
	}
	return nil
}

// library returns the file that the path of a module leads to: what is installed
// is often a link.
func library(path string) (string, error) {
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("%q is not an absolute path", path)
	}
	file, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	return file, checkExecutable(file)
}

// checkCage checks what the module is let do.
func (m PKCS11Config) checkCage() error {
	for name, value := range m.Environment {
		refused := slices.ContainsFunc(refusedVariables(), func(prefix string) bool { return strings.HasPrefix(strings.ToUpper(name), prefix) })
		if !regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`).MatchString(name) || refused {
			return invalid("environment: %q is no name of a variable that a module may have", name)
		}
		if strings.ContainsRune(value, 0) {
			return invalid("environment: the value of %s holds a NUL", name)
		}
	}
	for _, folder := range m.Writable {
		if info, err := os.Stat(folder); !filepath.IsAbs(folder) || err != nil || !info.IsDir() {
			return invalid("writable: %q is not the absolute path of a folder that is there", folder)
		}
	}
	return nil
}

// checkWritable refuses folders for modules in which inkand keeps what nobody else
// may write to.
func (c Config) checkWritable() error {
	c = c.withDefaults()
	for _, m := range c.PKCS11 {
		for _, folder := range m.Writable {
			for _, own := range []string{c.StateDir, filepath.Dir(c.Socket), filepath.Dir(c.PINSocket), filepath.Dir(m.Module)} {
				if isWithin(own, folder) || isWithin(folder, own) && own == c.StateDir {
					return invalid("pkcs11 %s: writable: %s overlaps with %s, which no module may write to", m.Name, folder, own)
				}
			}
		}
	}
	return nil
}

// isWithin reports whether a path is a folder or below it, links followed as far
// as they lead somewhere.
func isWithin(path, folder string) bool {
	for _, p := range []*string{&path, &folder} {
		if target, err := filepath.EvalSymlinks(*p); err == nil {
			*p = target
		}
	}
	rel, err := filepath.Rel(folder, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// refusedVariables are how names begin of what puts other code into the process,
// has libraries write secrets out, or is set by us.
func refusedVariables() []string {
	return []string{"LD_", "LIBPCSCLITE_", "PCSCLITE_", "OPENSC_", "OPENSSL_", "GLIBC_", "GCONV_", "MALLOC_", "PATH", "GO"}
}

// modules returns the modules as token/p11 wants them.
func (c Config) modules() (all []*p11.Module, err error) {
	for _, m := range c.PKCS11 {
		file, err := library(m.Module)
		if err != nil {
			return nil, invalid("pkcs11 %s: module: %v", m.Name, err)
		}
		var environment []string
		for name, value := range m.Environment {
			environment = append(environment, name+"="+value)
		}
		all = append(all, &p11.Module{
			Name: m.Name, Path: file, Environment: environment, Writable: m.Writable,
			Own: m.Via == viaOwn, TakesAll: m.Takes == takesAll,
			Token:   p11.Filter{Label: m.Token.Label, Manufacturer: m.Token.Manufacturer, Model: m.Token.Model, Serial: m.Token.Serial},
			Profile: m.Profile, Timeout: time.Duration(cmp.Or(m.Timeout, c.Card.CommandTimeout)), PINMemory: c.PIN.Memory,
		})
	}
	return all, nil
}

// withModules adds what PKCS#11 modules bring: readers of their own, and kinds
// of cards. Those that take all cards are asked first.
func (o Options) withModules(system pcsc.System, apps []cardowner.Application, profiles *cardprofile.Set, cards *register.Register) (pcsc.System, []cardowner.Application, func() error, error) {
	modules, err := o.Config.modules()
	if err != nil || len(modules) == 0 {
		return system, apps, func() error { return nil }, err
	}
	shared := p11.NewSystem(system, modules, o.Logger)
	direct := make([]cardowner.Application, 0, len(apps))
	for _, app := range apps {
		app.Takes = func(card pcsc.Card) bool { return slotOf(card) == nil }
		direct = append(direct, app)
	}
	var first, last []cardowner.Application
	for _, m := range modules {
		app := moduleApplication(m, direct, profiles, cards)
		if m.TakesAll || m.Own {
			first = append(first, app)
		} else {
			last = append(last, app)
		}
	}
	return shared, append(append(first, direct...), last...), shared.Close, nil
}

// slotOf returns the module whose slot a card is in, nil for a reader of PC/SC.
func slotOf(card pcsc.Card) *p11.Module {
	if c, ok := card.(*p11.Card); ok {
		return c.Slot()
	}
	return nil
}

// moduleApplication is the kind of card that a module knows.
func moduleApplication(m *p11.Module, direct []cardowner.Application, profiles *cardprofile.Set, cards *register.Register) cardowner.Application {
	profile := func(atr []byte, id token.CardID) token.Profile {
		for _, app := range direct {
			if prefix, _, _ := strings.Cut(string(id), "-"); strings.EqualFold(prefix, app.Name) {
				return app.Profile(atr, id) // known by its own application: one count, one limit
			}
		}
		if named, ok := profiles.Named(m.Profile); ok {
			return named
		}
		return profiles.For(cardprofile.PKCS11, atr, id)
	}
	return cardowner.Application{
		Name: p11.Application, Profile: profile,
		Takes: func(card pcsc.Card) bool {
			if own := slotOf(card); own != nil || m.Own {
				return own == m
			}
			return true
		},
		Open: func(card cardowner.Connection, p token.Profile) token.Token {
			o := p11.Options{Profile: p, Bound: func(ctx context.Context, ref string) (token.CardID, error) { return cards.Bound(ctx, ref) }, Within: card.Within}
			if m.TakesAll {
				for _, app := range direct {
					o.Direct = append(o.Direct, func() token.Token { return app.Open(card, app.Profile(card.ATR(), "")) })
				}
			}
			own, _ := card.Card.(*p11.Card) // all of the shared System are
			return p11.Open(own, m, o)
		},
	}
}
