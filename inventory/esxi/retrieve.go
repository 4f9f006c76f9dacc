package esxi

import (
	"context"
	"fmt"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	// pageSize is how many objects are asked for at once.
	pageSize = 100
	// maxObjects bounds an inventory; ESXi holds at most 1,024 VMs.
	maxObjects = 20_000
)

// object is one managed object with the properties that the host gave.
type object struct {
	ref    types.ManagedObjectReference
	props  map[string]any
	unread error // why there are no more
}

// prop returns o's property called name, or T's zero where the host left it
// out or sent another type.
func prop[T any](o object, name string) T {
	v, _ := o.props[name].(T)
	return v
}

// retrieve runs one property-collector retrieval, page by page. A property
// that the host cannot give is missing in the result.
func (c *Client) retrieve(ctx context.Context, spec types.PropertyFilterSpec, each func(object)) error {
	collector := c.content.PropertyCollector
	res, err := methods.RetrievePropertiesEx(ctx, c.read(), &types.RetrievePropertiesEx{
		This: collector, SpecSet: []types.PropertyFilterSpec{spec}, Options: types.RetrieveOptions{MaxObjects: pageSize},
	})
	if err != nil {
		return wrapFault(err)
	}
	page, total := res.Returnval, 0
	for page != nil {
		for _, o := range page.Objects {
			props := make(map[string]any, len(o.PropSet))
			for _, p := range o.PropSet {
				props[p.Name] = p.Val
			}
			each(object{ref: o.Obj, props: props})
		}
		total += len(page.Objects)
		if page.Token == "" {
			return nil
		}
		if total > maxObjects || len(page.Objects) == 0 {
			return fmt.Errorf("%w: the inventory does not end after %d objects", ErrProtocol, total)
		}
		next, err := methods.ContinueRetrievePropertiesEx(ctx, c.read(), &types.ContinueRetrievePropertiesEx{This: collector, Token: page.Token})
		if err != nil {
			return wrapFault(err)
		}
		page = &next.Returnval
	}
	return nil
}

// tree selects everything below the root folder that an ESXi host has: its
// datacenter, the host, its datastores, and the VMs in their folder.
func tree() []types.BaseSelectionSpec {
	step := func(name, kind, path string, next ...string) *types.TraversalSpec {
		skip := false
		t := &types.TraversalSpec{SelectionSpec: types.SelectionSpec{Name: name}, Type: kind, Path: path, Skip: &skip}
		for _, n := range next {
			t.SelectSet = append(t.SelectSet, &types.SelectionSpec{Name: n})
		}
		return t
	}
	return []types.BaseSelectionSpec{
		step("folder", "Folder", "childEntity", "folder", "vms", "hosts", "stores", "host"),
		step("vms", "Datacenter", "vmFolder", "folder"),
		step("hosts", "Datacenter", "hostFolder", "folder"),
		step("stores", "Datacenter", "datastore"),
		step("host", "ComputeResource", "host"),
	}
}

// under returns the filter for objects of the given types below the root.
func (c *Client) under(kinds map[string][]string) types.PropertyFilterSpec {
	spec := types.PropertyFilterSpec{
		ObjectSet: []types.ObjectSpec{{Obj: c.content.RootFolder, SelectSet: tree()}},
	}
	for kind, paths := range kinds {
		spec.PropSet = append(spec.PropSet, types.PropertySpec{Type: kind, PathSet: paths})
	}
	return spec
}

// of returns the filter for one object.
func of(ref types.ManagedObjectReference, paths ...string) types.PropertyFilterSpec {
	return types.PropertyFilterSpec{
		ObjectSet: []types.ObjectSpec{{Obj: ref}},
		PropSet:   []types.PropertySpec{{Type: ref.Type, PathSet: paths}},
	}
}
