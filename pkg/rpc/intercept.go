package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/pg"
)

// RequestIDKey is the metadata key of the request id, one for all calls that a request of a client leads to.
const RequestIDKey = "x-request-id"

// ClientIPKey is the metadata key of the client's address, which only the gateway may set.
const ClientIPKey = "slipway-client-ip"

// UserAgentKey is the metadata key of the client's User-Agent, which only the gateway may set.
const UserAgentKey = "slipway-user-agent"

// unary wraps every call: conversion to a status outermost, then log, identity, audit, recover, access, accepted values.
func (s *Server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
	start := time.Now()
	resp, err := s.guarded(ctx, info.FullMethod, req, func(ctx context.Context) (any, error) {
		if err := s.accept(info.FullMethod, req); err != nil {
			return nil, err
		}
		return s.idem(ctx, info.FullMethod, req, h)
	})
	s.report(ctx, info.FullMethod, start, err)
	if err != nil {
		return nil, fault.Status(err).Err()
	}
	return resp, nil
}

func (s *Server) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, h grpc.StreamHandler) error {
	start := time.Now()
	ctx, cancel := context.WithCancel(ss.Context())
	defer cancel()
	defer context.AfterFunc(s.ending, cancel)()
	_, err := s.guarded(ctx, info.FullMethod, nil, func(ctx context.Context) (any, error) {
		return nil, h(srv, &stream{ServerStream: ss, ctx: ctx})
	})
	s.report(ss.Context(), info.FullMethod, start, err)
	return fault.Status(err).Err()
}

// guarded calls h with the identity in its context, if the caller may call the method. The error is fault.Unavailable while
// the service's database is away.
func (s *Server) guarded(ctx context.Context, method string, req any, h func(context.Context) (any, error)) (any, error) {
	if text := first(ctx, identity.MetadataKey); text != "" && s.verifier != nil {
		id, err := s.verifier.Verify(ctx, text)
		if err != nil {
			return nil, pg.Unavailable(ctx, err)
		}
		if err := checkAudience(id, s.rules[method], method, CallerOf(ctx)); err != nil {
			return nil, err
		}
		ctx = identity.With(ctx, id)
	}
	c := s.begin(ctx, s.rules[method], req)
	resp, err := s.handle(audit.With(ctx, c), method, h)
	err = pg.Unavailable(ctx, err)
	s.end(ctx, c, err)
	return resp, err
}

func (s *Server) handle(ctx context.Context, method string, h func(context.Context) (any, error)) (resp any, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	ctx, err = s.allow(ctx, method)
	if err != nil {
		return nil, err
	}
	return h(ctx)
}

// report writes one log line for a call: at level error for faults of this service, at level debug for faults of the caller.
func (s *Server) report(ctx context.Context, method string, start time.Time, err error) {
	if s.observe != nil {
		s.observe(method, fault.Status(err).Code(), time.Since(start))
	}
	level := slog.LevelDebug
	if err != nil {
		if c := fault.Status(err).Code(); c == codes.Internal || c == codes.Unknown {
			level = slog.LevelError
		}
	}
	if !s.log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("method", method), slog.Duration("took", time.Since(start)),
		slog.String("caller", CallerOf(ctx)), slog.String("request", RequestID(ctx)),
	}
	if err != nil {
		attrs = append(attrs, slog.String("err", err.Error()))
	}
	s.log.LogAttrs(ctx, level, "rpc", attrs...)
}

// RequestID returns the id of the client's request that this call belongs to.
func RequestID(ctx context.Context) string { return first(ctx, RequestIDKey) }

func first(ctx context.Context, key string) string {
	if v := metadata.ValueFromIncomingContext(ctx, key); len(v) > 0 {
		return v[0]
	}
	return ""
}

type stream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *stream) Context() context.Context { return s.ctx }
