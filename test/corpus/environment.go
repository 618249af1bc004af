package corpus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/aftermesh/aftermesh/pkg/identity"
	"github.com/aftermesh/aftermesh/test/sds"
)

// material is what was made for a case: authorities and leaves by name, and the provider of secrets on the node.
type material struct {
	authorities map[string]*identity.Authority
	leaves      map[string]leaf
	provider    *sds.Provider
	// issuer signs the identities of the provider.
	issuer *identity.Authority
}

type leaf struct {
	chain, key []byte
	signer     string
}

// certificateLife is longer than any run.
const certificateLife = 24 * time.Hour

// environment makes what must be there before the first step.
func (t *run) environment(ctx context.Context) error {
	e := t.c.Environment
	if err := t.certificates(); err != nil {
		return fmt.Errorf("environment.certificates: %w", err)
	}
	for _, a := range e.ServiceAccounts {
		if err := t.provide(ctx, object("v1", "ServiceAccount", a.Namespace, a.Name, nil)); err != nil {
			return fmt.Errorf("environment.serviceAccounts: %w", err)
		}
	}
	for _, s := range e.Secrets {
		data := map[string]any{}
		for file, what := range s.Data {
			content, err := t.material.content(what)
			if err != nil {
				return fmt.Errorf("environment.secrets: %s/%s: %s: %w", s.Namespace, s.Name, file, err)
			}
			data[file] = string(content)
		}
		if err := t.provide(ctx, object("v1", "Secret", s.Namespace, s.Name, map[string]any{"stringData": data})); err != nil {
			return fmt.Errorf("environment.secrets: %w", err)
		}
	}
	if err := t.standForARNs(ctx); err != nil {
		return fmt.Errorf("environment.arns: %w", err)
	}
	if err := t.startProvider(); err != nil {
		return fmt.Errorf("environment.sds: %w", err)
	}
	if err := t.kube.alias(ctx, e.DNSAliases); err != nil {
		return fmt.Errorf("environment.dnsAliases: %w", err)
	}
	return nil
}

func object(apiVersion, kind, namespace, name string, rest map[string]any) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": kind}}
	for k, v := range rest {
		u.Object[k] = v
	}
	u.SetName(name)
	if namespace != "" {
		u.SetNamespace(namespace)
	}
	return u
}

// provide makes an object, and its namespace if that is missing.
func (t *run) provide(ctx context.Context, u *unstructured.Unstructured) error {
	err := t.kube.apply(ctx, u, metav1.PatchOptions{})
	if apierrors.IsNotFound(err) && u.GetNamespace() != "" {
		ns := object("v1", "Namespace", "", u.GetNamespace(), nil)
		if err := t.kube.apply(ctx, ns, metav1.PatchOptions{}); err != nil {
			return err
		}
		t.applied = append(t.applied, ns)
		err = t.kube.apply(ctx, u, metav1.PatchOptions{})
	}
	if err != nil {
		return fmt.Errorf("%s %s/%s: %w", u.GetKind(), u.GetNamespace(), u.GetName(), err)
	}
	t.applied = append(t.applied, u)
	return nil
}

func (t *run) certificates() error {
	m := &t.material
	m.authorities, m.leaves = map[string]*identity.Authority{}, map[string]leaf{}
	for _, name := range t.c.Environment.Certificates.Authorities {
		a, err := identity.NewAuthority(name, time.Now(), certificateLife)
		if err != nil {
			return err
		}
		m.authorities[name] = a
	}
	for _, l := range t.c.Environment.Certificates.Leaves {
		a := m.authorities[l.SignedBy]
		if a == nil {
			return fmt.Errorf("leaf %s: there is no authority %q", l.Name, l.SignedBy)
		}
		var names identity.Names
		for _, san := range l.SAN {
			if u, err := url.Parse(san); err == nil && u.Scheme != "" {
				names.URIs = append(names.URIs, u)
			} else {
				names.DNS = append(names.DNS, san)
			}
		}
		chain, key, err := a.Leaf(names, time.Now(), certificateLife)
		if err != nil {
			return err
		}
		m.leaves[l.Name] = leaf{chain, key, l.SignedBy}
	}
	return nil
}

// authority returns the PEM of an authority that requests trust; empty for none.
func (t *run) authority(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	b, err := t.material.content("ca:" + name)
	return string(b), err
}

// content makes what "ca:x", "ca:x+y", "chain:x" or "key:x" say.
func (m *material) content(what string) ([]byte, error) {
	kind, names, _ := strings.Cut(what, ":")
	var out []byte
	for name := range strings.SplitSeq(names, "+") {
		a, l := m.authorities[name], m.leaves[name]
		switch {
		case kind == "ca" && a != nil:
			out = append(out, a.PEM()...)
		case kind == "chain" && l.chain != nil:
			out = append(out, l.chain...)
		case kind == "key" && l.key != nil:
			out = append(out, l.key...)
		case kind == "key" && a != nil:
			data, err := a.Data()
			if err != nil {
				return nil, err
			}
			out = append(out, data["ca.key"]...)
		default:
			return nil, fmt.Errorf("%q is not ca:, chain: or key: of something in environment.certificates", what)
		}
	}
	return out, nil
}

// standForARNs maps resources of AWS to Secrets by MeshSettings of every mesh of the case.
func (t *run) standForARNs(ctx context.Context) error {
	var list []any
	for i, a := range t.c.Environment.ARNs {
		data := map[string]any{}
		kind, name, _ := strings.Cut(a.Is, ":")
		switch kind {
		case "ca":
			data["ca.crt"] = a.Is
		case "chain":
			data["tls.crt"], data["tls.key"], data["ca.crt"] = a.Is, "key:"+name, "ca:"+t.material.leaves[name].signer
		}
		for file, what := range data {
			content, err := t.material.content(fmt.Sprint(what))
			if err != nil {
				return err
			}
			data[file] = string(content)
		}
		secret := fmt.Sprintf("corpus-arn-%d", i)
		if err := t.provide(ctx, object("v1", "Secret", operatorNamespace, secret, map[string]any{"stringData": data})); err != nil {
			return err
		}
		list = append(list, map[string]any{"arn": a.ARN, "secretName": secret, "namespaces": []any{"*"}})
	}
	if list == nil {
		return nil
	}
	meshes, err := t.names("Mesh")
	for _, name := range meshes {
		settings := object("aftermesh.dev/v1alpha1", "MeshSettings", "", name, map[string]any{"spec": map[string]any{"certificates": list}})
		err = errors.Join(err, t.provide(ctx, settings))
	}
	return err
}

// names returns the names of the objects of a kind in the case's files.
func (t *run) names(kind string) ([]string, error) {
	var out []string
	for _, f := range t.c.Files {
		list, err := documents(t.c.path(f))
		if err != nil {
			return nil, err
		}
		for _, u := range list {
			if u.GetKind() == kind && !slices.Contains(out, u.GetName()) {
				out = append(out, u.GetName())
			}
		}
	}
	return out, nil
}

// startProvider puts a provider of secrets on the node, with an authority of its own. It knows proxies by the names they ask for.
func (t *run) startProvider() error {
	s := t.c.Environment.SDS
	if s == nil {
		return nil
	}
	a, err := identity.NewAuthority(s.TrustDomain, time.Now(), certificateLife)
	if err != nil {
		return err
	}
	t.material.issuer = a
	if t.material.provider, err = sds.Listen(s.Socket); err != nil {
		return err
	}
	t.material.provider.SetTrust(s.TrustDomain, bytes.Clone(a.PEM()))
	return t.register(slices.DeleteFunc(slices.Clone(s.Identities), func(r Registration) bool { return r.Later }))
}

// register makes identities known to the provider of secrets, each with a certificate of its own.
func (t *run) register(list []Registration) error {
	if len(list) > 0 && t.material.provider == nil {
		return errors.New("the case has no environment.sds")
	}
	for _, r := range list {
		u, err := url.Parse(r.SPIFFEID)
		if err != nil {
			return err
		}
		chain, key, err := t.material.issuer.Leaf(identity.Names{URIs: []*url.URL{u}}, time.Now(), certificateLife)
		if err != nil {
			return err
		}
		t.material.provider.SetCertificate(r.SPIFFEID, chain, key)
	}
	return nil
}
