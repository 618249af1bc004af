package controllers

import (
	"context"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/aftermesh/aftermesh/pkg/ca"
	"github.com/aftermesh/aftermesh/pkg/compile"
	"github.com/aftermesh/aftermesh/pkg/identity"
	"github.com/aftermesh/aftermesh/pkg/mesh"
	"github.com/aftermesh/aftermesh/pkg/pipeline"
)

// signer is the leader's part of the mesh's authority: it renews the root and stores the certificates that workloads need.
type signer struct {
	client    client.Client
	namespace string
	log       logr.Logger
	snapshot  func() *pipeline.Snapshot
	leaves    func() map[mesh.WorkloadID]compile.KeyPair
	wake      <-chan struct{}
}

// NeedLeaderElection is true: one writer is enough.
func (s *signer) NeedLeaderElection() bool { return true }

// Start signs until ctx ends: at every pass of the pipeline, and every minute in any case.
func (s *signer) Start(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		if err := s.check(ctx, time.Now()); err != nil && ctx.Err() == nil {
			s.log.Error(err, "Certificates of workloads not up to date, trying again")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-s.wake:
		}
	}
}

func (s *signer) check(ctx context.Context, now time.Time) error {
	last := s.snapshot()
	if last == nil {
		return nil
	}
	leaves := s.leaves()
	if len(last.Result.Certificates) == 0 && len(leaves) == 0 {
		return nil
	}
	a, err := s.authority(ctx, now)
	if err != nil {
		return err
	}
	for _, r := range ca.Plan(a, last.Result.Certificates, leaves, now) {
		if err := s.issue(ctx, a, r, now); err != nil {
			return err
		}
	}
	return s.clean(ctx, last.Result.Certificates, leaves)
}

// authority returns the root, renewed when its time has come. The renewed one is trusted by proxies before it signs, see package ca.
func (s *signer) authority(ctx context.Context, now time.Time) (*identity.Authority, error) {
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
func (s *signer) issue(ctx context.Context, a *identity.Authority, r compile.CertificateRequest, now time.Time) error {
	k, err := ca.Issue(a, r, now)
	if err != nil {
		return fmt.Errorf("sign the certificate of %s: %w", r.Object, err)
	}
	secret := &corev1.Secret{Type: corev1.SecretTypeTLS, Data: map[string][]byte{corev1.TLSCertKey: k.Chain, corev1.TLSPrivateKeyKey: k.Key}}
	secret.Name, secret.Namespace = ca.LeafName(r.Workload), s.namespace
	secret.Labels, secret.Annotations = map[string]string{ca.Label: "workload"}, map[string]string{ca.Annotation: r.Workload.String()}
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
func (s *signer) clean(ctx context.Context, wanted []compile.CertificateRequest, leaves map[mesh.WorkloadID]compile.KeyPair) error {
	keep := map[mesh.WorkloadID]bool{}
	for _, r := range wanted {
		keep[r.Workload] = true
	}
	for id := range leaves {
		if keep[id] {
			continue
		}
		secret := &corev1.Secret{}
		secret.Name, secret.Namespace = ca.LeafName(id), s.namespace
		if err := s.client.Delete(ctx, secret); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete the certificate of %s: %w", id, err)
		}
	}
	return nil
}
