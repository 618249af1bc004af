package controllers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/aftermesh/aftermesh/pkg/admin"
)

// serveAdmin offers the admin API on loopback.
func (op *operator) serveAdmin() error {
	api := &admin.Server{Snapshot: op.pipeline.Last, Rows: op.rows, Authorize: op.authorizeAdmin}
	return op.manager.Add(everywhere(func(ctx context.Context) error {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", op.AdminPort))
		if err != nil {
			return err
		}
		const headers = 5 * time.Second
		s := &http.Server{Handler: api.Handler(), ReadHeaderTimeout: headers}
		stopped := context.AfterFunc(ctx, func() { _ = s.Close() })
		defer stopped()
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}))
}

// authorizeAdmin lets in who shows a token made for the admin service account: making one needs the right to.
func (op *operator) authorizeAdmin(ctx context.Context, token string) error {
	review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{admin.Audience}}}
	if err := op.client.Create(ctx, review); err != nil {
		return fmt.Errorf("the API server does not review tokens: %w", err)
	}
	want := "system:serviceaccount:" + op.Namespace + ":" + admin.ServiceAccount
	if !review.Status.Authenticated || review.Status.User.Username != want {
		return fmt.Errorf("the token must be one for %s with audience %s", want, admin.Audience)
	}
	return nil
}
