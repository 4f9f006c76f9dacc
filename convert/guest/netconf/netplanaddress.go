package netconf

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"esxodus/convert/guest"
)

// netplanAddress changes a definition in a file of netplan's, netplan(5). Comments
// and what else stands there stay.
func netplanAddress(text string, l guest.NetLink, a guest.NewAddress) (string, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil || len(doc.Content) == 0 {
		return "", errors.New("it is no YAML")
	}
	kind := map[guest.LinkKind]string{guest.LinkNIC: "ethernets", guest.LinkVLAN: "vlans", guest.LinkBond: "bonds", guest.LinkBridge: "bridges"}[l.Kind]
	def := value(value(value(doc.Content[0], "network"), kind), l.ID)
	if def == nil || def.Kind != yaml.MappingNode {
		return "", fmt.Errorf("%s isn't a map of its own", l.ID)
	}
	switch {
	case anchored(def):
		return "", fmt.Errorf("what %s has is shared with others", l.ID)
	case value(def, "networkmanager") != nil:
		return "", fmt.Errorf("%s is a connection of NetworkManager's own", l.ID)
	}
	addresses := value(def, "addresses")
	if addresses == nil || addresses.Kind != yaml.SequenceNode {
		addresses = &yaml.Node{Kind: yaml.SequenceNode}
	}
	addresses.Content = slices.DeleteFunc(addresses.Content, func(n *yaml.Node) bool {
		if n.Kind == yaml.MappingNode && len(n.Content) > 0 {
			n = n.Content[0]
		}
		return ours(n.Value, a)
	})
	addresses.Content = append(addresses.Content, scalar(a.Prefix.String()))
	set(def, "addresses", addresses)
	if dhcp := family(a, "dhcp4", "dhcp6"); value(def, dhcp) != nil {
		set(def, dhcp, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: "false"})
	}
	if a.Gateway.IsValid() {
		netplanGateway(def, a)
	}
	if len(a.DNS) > 0 {
		servers := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, d := range a.DNS {
			servers.Content = append(servers.Content, scalar(d.String()))
		}
		names := value(def, "nameservers")
		if names == nil || names.Kind != yaml.MappingNode {
			names = &yaml.Node{Kind: yaml.MappingNode}
		}
		set(names, "addresses", servers)
		set(def, "nameservers", names)
	}
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if err := errors.Join(e.Encode(&doc), e.Close()); err != nil {
		return "", err
	}
	return out.String(), nil
}

// anchored reports whether a definition, or a part of it, is another's too.
func anchored(n *yaml.Node) bool {
	return n.Anchor != "" || n.Kind == yaml.AliasNode || slices.ContainsFunc(n.Content, anchored)
}

// netplanGateway sets the gateway where it is: gateway4 of old, or a route.
func netplanGateway(def *yaml.Node, a guest.NewAddress) {
	if old := family(a, "gateway4", "gateway6"); value(def, old) != nil {
		set(def, old, scalar(a.Gateway.String()))
		return
	}
	routes := value(def, "routes")
	if routes == nil || routes.Kind != yaml.SequenceNode {
		routes = &yaml.Node{Kind: yaml.SequenceNode}
	}
	to := family(a, "0.0.0.0/0", "::/0") // every netplan knows it
	routes.Content = slices.DeleteFunc(routes.Content, func(r *yaml.Node) bool {
		dest, via := value(r, "to"), value(r, "via")
		if dest == nil || via == nil || !isDefault(dest.Value) || !ours(via.Value, a) {
			return false
		}
		if strings.HasPrefix(dest.Value, "default") {
			to = "default"
		}
		return true
	})
	route := &yaml.Node{Kind: yaml.MappingNode}
	set(route, "to", scalar(to))
	set(route, "via", scalar(a.Gateway.String()))
	routes.Content = append(routes.Content, route)
	set(def, "routes", routes)
}

func scalar(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	if strings.ContainsRune(s, ':') {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// value is that of a key in a map, nil for none.
func value(m *yaml.Node, key string) *yaml.Node {
	if m == nil || m.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			return m.Content[i+1]
		}
	}
	return nil
}

// set gives a key in a map a value.
func set(m *yaml.Node, key string, v *yaml.Node) {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			m.Content[i+1] = v
			return
		}
	}
	m.Content = append(m.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, v)
}
