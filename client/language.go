package client

import (
	"os"
	"strings"
)

// EnvLanguage returns the language that the environment asks for: "ja" when
// the first of LC_ALL, LC_MESSAGES and LANG that is set begins with "ja", else
// "en" (the order of POSIX.1-2024, XBD section 8.2).
func EnvLanguage() string {
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if v := os.Getenv(name); v != "" {
			if strings.HasPrefix(v, "ja") {
				return "ja"
			}
			return "en"
		}
	}
	return "en"
}
