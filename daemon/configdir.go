package daemon

import (
	"cmp"
	"flag"
	"os"
	"path/filepath"
	"slices"
)

// configFiles are where the configuration is, as the command line names it.
type configFiles struct {
	file    string
	folders []string
}

// configFlags adds the flags that name the configuration.
func configFlags(set *flag.FlagSet) *configFiles {
	c := &configFiles{}
	set.StringVar(&c.file, "config", "", "configuration file")
	set.Func("config-dir", "folder of more files", func(folder string) error {
		c.folders = append(c.folders, folder)
		return nil
	})
	return c
}

// load reads the configuration; without any file it is the default.
func (c *configFiles) load() (Config, error) {
	var all []string
	if c.file != "" {
		all = append(all, c.file)
	}
	more, err := dropIns(c.folders)
	if err != nil {
		return Config{}, err
	}
	if all = append(all, more...); len(all) == 0 {
		return Config{}, nil
	}
	return Load(all[0], all[1:]...)
}

// dropIns returns the files *.toml of folders in the order of their names,
// wherever they are. Of two with one name that of the later folder counts, so
// that what a package brings can be replaced. A folder may be missing.
func dropIns(folders []string) ([]string, error) {
	byName := map[string]string{}
	for _, folder := range folders {
		entries, err := os.ReadDir(folder)
		if err != nil && !os.IsNotExist(err) {
			return nil, invalid("%v", err)
		}
		for _, entry := range entries {
			if filepath.Ext(entry.Name()) == ".toml" {
				byName[entry.Name()] = filepath.Join(folder, entry.Name())
			}
		}
	}
	all := make([]string, 0, len(byName))
	for _, path := range byName {
		all = append(all, path)
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Compare(filepath.Base(a), filepath.Base(b)) })
	return all, nil
}
