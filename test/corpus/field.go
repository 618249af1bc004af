package corpus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
)

func (t *run) checkField(ctx context.Context, c Check) error {
	var want struct {
		Equals    yamlv3.Node
		NotEquals yamlv3.Node `yaml:"notEquals"`
		Absent    bool
	}
	if err := decodeNode(&c.Expect, &want); err != nil {
		return notYet(err.Error())
	}
	u, err := t.get(ctx, c.Object)
	if err != nil {
		return err
	}
	values, err := lookup(u.Object, c.Path)
	if err != nil {
		return err
	}
	if want.Absent {
		if len(values) > 0 {
			return fmt.Errorf("%s is %v, expected nothing", c.Path, values)
		}
		return nil
	}
	if len(values) == 0 {
		return fmt.Errorf("%s does not exist", c.Path)
	}
	for _, v := range values {
		if eq, err := equal(v, &want.Equals); err != nil || !want.Equals.IsZero() && !eq {
			return errors.Join(err, fmt.Errorf("%s is %v, expected %s", c.Path, v, want.Equals.Value))
		}
		if eq, err := equal(v, &want.NotEquals); err != nil || !want.NotEquals.IsZero() && eq {
			return errors.Join(err, fmt.Errorf("%s is still %v", c.Path, v))
		}
	}
	return nil
}

// equal compares a value of the API with one of YAML, by their JSON.
func equal(v any, n *yamlv3.Node) (bool, error) {
	if n.IsZero() {
		return false, nil
	}
	var want any
	if err := n.Decode(&want); err != nil {
		return false, err
	}
	a, errA := json.Marshal(v)
	b, errB := json.Marshal(want)
	if err := errors.Join(errA, errB); err != nil {
		return false, err
	}
	var x, y any
	if err := errors.Join(json.Unmarshal(a, &x), json.Unmarshal(b, &y)); err != nil {
		return false, err
	}
	return reflect.DeepEqual(x, y), nil
}

// lookup returns the values at a path: names by dots, [0], [*], [?key~text] for list items whose key contains the text, and
// ["name"] for names with dots.
func lookup(v any, path string) ([]any, error) {
	if path == "" {
		return []any{v}, nil
	}
	if rest, ok := strings.CutPrefix(path, "["); ok {
		sel, after, ok := strings.Cut(rest, "]")
		if !ok {
			return nil, fmt.Errorf("path %q has no closing bracket", path)
		}
		return selectItems(v, sel, strings.TrimPrefix(after, "."))
	}
	end := strings.IndexAny(path, ".[")
	name, rest := path, ""
	if end >= 0 {
		name, rest = path[:end], strings.TrimPrefix(path[end:], ".")
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, nil
	}
	child, ok := m[name]
	if !ok {
		return nil, nil
	}
	return lookup(child, rest)
}

func selectItems(v any, sel, rest string) ([]any, error) {
	if name, err := strconv.Unquote(sel); err == nil {
		m, ok := v.(map[string]any)
		if !ok || m[name] == nil {
			return nil, nil
		}
		return lookup(m[name], rest)
	}
	list, ok := v.([]any)
	if !ok {
		return nil, nil
	}
	var out []any
	for i, item := range list {
		switch {
		case sel == "*", sel == strconv.Itoa(i):
		case strings.HasPrefix(sel, "?"):
			key, text, _ := strings.Cut(sel[1:], "~")
			found, err := lookup(item, key)
			if err != nil {
				return nil, err
			}
			if len(found) == 0 || !strings.Contains(fmt.Sprint(found[0]), text) {
				continue
			}
		default:
			continue
		}
		values, err := lookup(item, rest)
		if err != nil {
			return nil, err
		}
		out = append(out, values...)
	}
	return out, nil
}
