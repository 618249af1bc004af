package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	meshv1alpha1 "github.com/aftermesh/aftermesh/api/v1alpha1"
	"github.com/aftermesh/aftermesh/pkg/ca"
	"github.com/aftermesh/aftermesh/pkg/identity"
	"github.com/aftermesh/aftermesh/pkg/input"
	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/pipeline"
)

// certificateIssuer is the leader's part of the mesh's authority: it renews the root and stores the certificates that workloads need.
type certificateIssuer struct {
	client    client.Client
	namespace string
	log       logr.Logger
	snapshot  func() *pipeline.Snapshot
	leaves    func() map[mesh.Object]input.KeyPair
	// stored are the names of all Secrets with certificates of workloads.
	stored func() []string
	// settings are all MeshSettings.
	settings func() []*meshv1alpha1.MeshSettings
	trigger  <-chan struct{}
}

// NeedLeaderElection is true: one writer is enough.
func (s *certificateIssuer) NeedLeaderElection() bool { return true }

// Start signs until ctx ends: at every pass of the pipeline, and every minute in any case.
func (s *certificateIssuer) Start(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		now := time.Now()
		for _, do := range []func(context.Context, time.Time) error{s.check, s.judgeSettings} {
			s.contain().run(func() {
				if err := do(ctx, now); err != nil && ctx.Err() == nil {
					s.log.Error(err, "Certificates of workloads or their settings not up to date, trying again")
				}
			})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-s.trigger:
		}
	}
}

func (s *certificateIssuer) contain() containment { return containment{s.log, "ca"} }

func (s *certificateIssuer) check(ctx context.Context, now time.Time) error {
	last := s.snapshot()
	if last == nil {
		return nil
	}
	leaves, stored := s.leaves(), s.stored()
	if len(last.Result.Certificates) == 0 && len(stored) == 0 {
		return nil
	}
	a, err := s.authority(ctx, now)
	if err != nil {
		return err
	}
	// One certificate that cannot be made keeps back no other.
	var failed []error
	for _, r := range ca.Plan(a, last.Result.Certificates, leaves, now) {
		s.contain().object(r.Object, func() {
			if err := s.issue(ctx, a, r, now); err != nil {
				failed = append(failed, err)
			}
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	const shown = 5
	if n := len(failed); n > shown {
		failed = append(failed[:shown], fmt.Errorf("and %d more", n-shown))
	}
	return errors.Join(append(failed, s.clean(ctx, last.Result.Certificates, stored))...)
}

// authority returns the root, renewed when its time has come. The renewed one is trusted by proxies before it signs, see package ca.
func (s *certificateIssuer) authority(ctx context.Context, now time.Time) (*identity.Authority, error) {
	a, err := loadAuthority(ctx, s.client, s.namespace, ca.SecretName, ca.Life)
	if err != nil || !a.Due(now) {
		return a, err
	}
	next, err := a.Renew(now)
	if err != nil {
		return nil, err
	}
	data, err := next.Data()
	if err != nil {
		return nil, err
	}
	var secret corev1.Secret
	if err := s.client.Get(ctx, types.NamespacedName{Namespace: s.namespace, Name: ca.SecretName}, &secret); err != nil {
		return nil, err
	}
	secret.Data = data
	if err := s.client.Update(ctx, &secret); err != nil {
		return nil, fmt.Errorf("store the renewed authority: %w", err)
	}
	s.log.Info("Authority renewed", "name", ca.SecretName)
	return next, nil
}

// issue stores a new certificate of a workload.
func (s *certificateIssuer) issue(ctx context.Context, a *identity.Authority, r input.CertificateRequest, now time.Time) error {
	k, err := ca.Issue(a, r, now)
	if err != nil {
		return fmt.Errorf("sign the certificate of %s: %w", r.Object, err)
	}
	secret := &corev1.Secret{Type: corev1.SecretTypeTLS, Data: map[string][]byte{corev1.TLSCertKey: k.Chain, corev1.TLSPrivateKeyKey: k.Key}}
	secret.Name, secret.Namespace = ca.LeafName(r.Object), s.namespace
	secret.Labels, secret.Annotations = map[string]string{ca.Label: "workload"}, map[string]string{ca.Annotation: ca.Owner(r.Object)}
	err = s.client.Create(ctx, secret)
	if apierrors.IsAlreadyExists(err) {
		err = s.client.Update(ctx, secret)
	}
	if err != nil {
		return fmt.Errorf("store the certificate of %s: %w", r.Object, err)
	}
	s.log.Info("Certificate issued", "object", r.Object.String(), "names", r.DNS)
	return nil
}

// clean deletes the certificates that nobody needs any more.
func (s *certificateIssuer) clean(ctx context.Context, wanted []input.CertificateRequest, stored []string) error {
	keep := map[string]bool{}
	for _, r := range wanted {
		keep[ca.LeafName(r.Object)] = true
	}
	for _, name := range stored {
		if keep[name] {
			continue
		}
		secret := &corev1.Secret{}
		secret.Name, secret.Namespace = name, s.namespace
		if err := s.client.Delete(ctx, secret); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete the certificate in Secret %s: %w", name, err)
		}
	}
	return nil
}
