package inspect

import (
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"esxodus/convert/guest"
	"esxodus/convert/guest/conf"
)

// cloudConfig is what matters of a file of cloud-init's.
type cloudConfig struct {
	Sources any   `json:"datasource_list"`
	Trusts  *bool `json:"manual_cache_clean"`
}

// cloudInit finds out what cloud-init took the guest for, and by what.
func (l *look) cloudInit() guest.CloudInit {
	const data = "var/lib/cloud"
	var c guest.CloudInit
	words := strings.Fields(l.guest.Config.Cmdline)
	installed := l.tree.exists("usr/bin/cloud-init") || l.tree.exists("usr/local/bin/cloud-init")
	c.Active = installed && !l.tree.exists("etc/cloud/cloud-init.disabled") && !slices.Contains(words, "cloud-init=disabled")
	if !installed {
		return c
	}
	first := func(name string) string {
		b, _ := l.read(name, maxFstab)
		if lines := conf.Lines(b); len(lines) > 0 {
			return conf.Clean(lines[0])
		}
		return ""
	}
	c.Instance = first(data + "/data/instance-id")
	source, _, _ := strings.Cut(first(data+"/instance/datasource"), ":") // "DataSourceOVF: DataSourceOVF [seed=…]"
	if source == "" {
		source, _, _ = strings.Cut(first(data+"/data/previous-datasource"), ":")
	}
	c.Source = source
	c.Seeded = len(l.tree.list(data+"/seed/nocloud")) > 0 || len(l.tree.list(data+"/seed/nocloud-net")) > 0
	for _, f := range slices.Concat(l.files("etc/cloud", "cloud.cfg"), l.files("etc/cloud/cloud.cfg.d", "*.cfg")) {
		if path.Dir(f.Path) == "/etc/cloud/cloud.cfg.d" {
			c.Drops = append(c.Drops, path.Base(f.Path))
		}
		var k cloudConfig
		if err := yaml.Unmarshal(f.Text, &k); err != nil {
			l.note("%s: %v", f.Path, err)
			continue
		}
		k.addTo(&c)
	}
	return c
}

// addTo has what a file says count before what those before it said.
func (k cloudConfig) addTo(c *guest.CloudInit) {
	switch list := k.Sources.(type) {
	case []any:
		c.Sources = nil
		for _, v := range list {
			if s, ok := v.(string); ok {
				c.Sources = append(c.Sources, conf.Clean(s))
			}
		}
	case string:
		c.Sources = strings.Fields(conf.Clean(list))
	}
	if k.Trusts != nil {
		c.Trusts = *k.Trusts
	}
}
