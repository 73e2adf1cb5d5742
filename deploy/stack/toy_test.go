package stack_test

import (
	"context"
	"testing/fstest"

	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	accesspb "slipway.dev/proto/access/v1"

	"slipway.dev/deploy/parts"
	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/fsck"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/service"
	"slipway.dev/pkg/unit"
)

// toyPart is the line that adds the toy to a table.
func toyPart() parts.Part {
	return parts.Part{
		Name: "toy", Command: "services/toy/cmd/toyd", Port: 8199, Calls: []string{"auth"}, Replicable: true, OnBus: true, Weight: 1,
		Migrate: migrateToy, New: parts.From("SLIPWAY_TOY", newToy),
	}
}

// toyConfig comes from variables that begin with SLIPWAY_TOY_.
type toyConfig struct {
	Greeting string `env:"GREETING" envDefault:"hello"`
}

// toy is a minimal service: it greets, stores the name, emits an event and consumes that event.
type toy struct {
	*service.Service
	cfg toyConfig
	db  *unit.DB
}

var toyTables = pg.Line{Name: "toy", FS: fstest.MapFS{"migrations/0001_toy.sql": &fstest.MapFile{Data: []byte(
	"-- +goose Up\nCREATE TABLE greeted (name text PRIMARY KEY);\nCREATE TABLE heard (name text PRIMARY KEY);",
)}}}

func migrateToy(ctx context.Context, pool *pgxpool.Pool) error {
	return service.Spec{Tables: toyTables}.Migrate(ctx, pool)
}

func newToy(ctx context.Context, cfg toyConfig, d service.Deps) (*toy, error) {
	t := &toy{cfg: cfg}
	var err error
	t.Service, err = service.New(ctx, service.Spec{Name: "toy", Calls: []string{"auth"}, Tables: toyTables, Build: t.build}, d)
	return t, err
}

func (t *toy) build(_ context.Context, k *service.Kit) (service.Parts, error) {
	t.db = k.DB
	k.Server.RegisterService(&toyService, t)
	return service.Parts{
		Checks: []fsck.Check{func(context.Context) ([]fsck.Finding, error) {
			return []fsck.Finding{{Kind: "toy_bored", Object: "toy 1"}}, nil
		}},
		Consumers: []service.Consumer{{
			Name: "toy-toy", From: "toy", On: map[string]bus.Handle{"toy.v1.user.greeted": service.On(hear)},
		}},
	}, nil
}

func (t *toy) greet(ctx context.Context, name *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
	err := t.db.InTx(ctx, func(tx *unit.Tx) error {
		if err := tx.Later(ctx, `INSERT INTO greeted (name) VALUES ($1)`, name.GetValue()); err != nil {
			return err
		}
		return tx.Emit(ctx, "toy.v1.user.greeted", name.GetValue(), name)
	})
	return wrapperspb.String(t.cfg.Greeting + ", " + name.GetValue()), err
}

func hear(ctx context.Context, tx *unit.Tx, name *wrapperspb.StringValue) error {
	return tx.Later(ctx, `INSERT INTO heard (name) VALUES ($1)`, name.GetValue())
}

// toyService is what protoc-gen-go-grpc would generate.
var toyService = grpc.ServiceDesc{
	ServiceName: "toy.v1.ToyService", HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Greet", Handler: func(
		srv any, ctx context.Context, decode func(any) error, through grpc.UnaryServerInterceptor,
	) (any, error) {
		in := new(wrapperspb.StringValue)
		if err := decode(in); err != nil {
			return nil, err
		}
		handle := func(ctx context.Context, r any) (any, error) {
			return srv.(*toy).greet(ctx, r.(*wrapperspb.StringValue))
		}
		if through == nil {
			return handle(ctx, in)
		}
		return through(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: "/toy.v1.ToyService/Greet"}, handle)
	}}},
}

// declareToy is toy/v1/toy.proto: one method, for users with a scope.
func declareToy() error {
	options := &descriptorpb.MethodOptions{}
	proto.SetExtension(options, accesspb.E_Access, &accesspb.Access{Level: accesspb.Level_LEVEL_USER, Scope: "toys.write"})
	fd, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("toy/v1/toy.proto"), Package: proto.String("toy.v1"), Syntax: proto.String("proto3"),
		Dependency: []string{"google/protobuf/wrappers.proto"},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("ToyService"), Method: []*descriptorpb.MethodDescriptorProto{{
			Name: proto.String("Greet"), Options: options,
			InputType: proto.String(".google.protobuf.StringValue"), OutputType: proto.String(".google.protobuf.StringValue"),
		}}}},
	}, protoregistry.GlobalFiles)
	if err != nil {
		return err
	}
	return protoregistry.GlobalFiles.RegisterFile(fd)
}
