package main

import (
	"context"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/request/bearertoken"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/apiserver/pkg/storage/names"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/util/compatibility"
	restclient "k8s.io/client-go/rest"
)

type options struct {
	etcd, certificate, key string
	noWatchCache           bool
}

// A resource with the types of its objects and lists.
type resource struct {
	group            schema.GroupVersion
	plural, singular string
	one              func() runtime.Object
	many             func() runtime.Object
}

var resources = []resource{
	{corev1.SchemeGroupVersion, "services", "service",
		func() runtime.Object { return &corev1.Service{} }, func() runtime.Object { return &corev1.ServiceList{} }},
	{corev1.SchemeGroupVersion, "secrets", "secret",
		func() runtime.Object { return &corev1.Secret{} }, func() runtime.Object { return &corev1.SecretList{} }},
	{discoveryv1.SchemeGroupVersion, "endpointslices", "endpointslice",
		func() runtime.Object { return &discoveryv1.EndpointSlice{} },
		func() runtime.Object { return &discoveryv1.EndpointSliceList{} }},
}

// ---- types

// Kubernetes' types as they are on the wire are those that are worked with, too: nothing is converted.
func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, discoveryv1.AddToScheme} {
		if err := add(scheme); err != nil {
			fail("%v", err)
		}
	}
	for _, r := range resources {
		scheme.AddKnownTypes(schema.GroupVersion{Group: r.group.Group, Version: runtime.APIVersionInternal}, r.one(), r.many())
	}
	return scheme
}

// What may be done with objects: everything.
type strategy struct {
	runtime.ObjectTyper
	names.NameGenerator
}

func (strategy) NamespaceScoped() bool                                            { return true }
func (strategy) AllowCreateOnUpdate() bool                                        { return true }
func (strategy) AllowUnconditionalUpdate() bool                                   { return true }
func (strategy) Canonicalize(runtime.Object)                                      {}
func (strategy) PrepareForCreate(context.Context, runtime.Object)                 {}
func (strategy) PrepareForUpdate(context.Context, runtime.Object, runtime.Object) {}
func (strategy) Validate(context.Context, runtime.Object) field.ErrorList         { return nil }
func (strategy) ValidateUpdate(context.Context, runtime.Object, runtime.Object) field.ErrorList {
	return nil
}
func (strategy) WarningsOnCreate(context.Context, runtime.Object) []string { return nil }
func (strategy) WarningsOnUpdate(context.Context, runtime.Object, runtime.Object) []string {
	return nil
}

// ---- storage

// Where the objects of a resource are in etcd.
func (o *options) restOptions(r *resource, codecs serializer.CodecFactory) generic.RESTOptions {
	config := storagebackend.NewDefaultConfig("/registry", codecs.LegacyCodec(r.group))
	config.Transport.ServerList = []string{o.etcd}
	config.EncodeVersioner = runtime.NewMultiGroupVersioner(r.group)
	name := schema.GroupResource{Group: r.group.Group, Resource: r.plural}
	decorator := registry.StorageWithCacher()
	if o.noWatchCache {
		decorator = generic.UndecoratedStorage
	}
	return generic.RESTOptions{
		StorageConfig: config.ForResource(name), Decorator: decorator, ResourcePrefix: r.group.Group + "/" + r.plural}
}

func newStore(r *resource, o *options, scheme *runtime.Scheme, codecs serializer.CodecFactory) (rest.Storage, error) {
	name := schema.GroupResource{Group: r.group.Group, Resource: r.plural}
	everything := strategy{scheme, names.SimpleNameGenerator}
	store := &registry.Store{
		NewFunc:                   r.one,
		NewListFunc:               r.many,
		DefaultQualifiedResource:  name,
		SingularQualifiedResource: schema.GroupResource{Group: r.group.Group, Resource: r.singular},
		CreateStrategy:            everything,
		UpdateStrategy:            everything,
		DeleteStrategy:            everything,
		TableConvertor:            rest.NewDefaultTableConvertor(name),
	}
	return store, store.CompleteWithOptions(&generic.StoreOptions{RESTOptions: o.restOptions(r, codecs)})
}

// ---- the API

// GenericAPIServer's own InstallAPIGroup wants generated OpenAPI definitions, which Debian does not have; managed fields are
// deduced instead, as they are for custom resources.
func install(s *server.GenericAPIServer, root string, group schema.GroupVersion, o *options, scheme *runtime.Scheme,
	codecs serializer.CodecFactory) error {
	storage, versions := map[string]rest.Storage{}, map[string][]string{}
	for i := range resources {
		if r := &resources[i]; r.group == group {
			store, err := newStore(r, o, scheme, codecs)
			if err != nil {
				return err
			}
			storage[r.plural], versions[r.plural] = store, []string{group.String()}
		}
	}
	version := &endpoints.APIGroupVersion{
		Storage:                     storage,
		Root:                        root,
		GroupVersion:                group,
		AllServedVersionsByResource: versions,
		OptionsExternalVersion:      &schema.GroupVersion{Version: "v1"},
		ParameterCodec:              runtime.NewParameterCodec(scheme),
		Serializer:                  codecs,
		Creater:                     scheme,
		Convertor:                   scheme,
		ConvertabilityChecker:       scheme,
		UnsafeConvertor:             runtime.UnsafeObjectConvertor(scheme),
		Defaulter:                   scheme,
		Typer:                       scheme,
		Namer:                       runtime.Namer(meta.NewAccessor()),
		TypeConverter:               managedfields.NewDeducedTypeConverter(),
		EquivalentResourceRegistry:  s.EquivalentResourceRegistry,
		Authorizer:                  s.Authorizer,
		MinRequestTimeout:           0,
		MaxRequestBodyBytes:         3 << 20,
	}
	_, _, err := version.InstallREST(s.Handler.GoRestfulContainer)
	return err
}

func newServer(s *site, o *options) (*server.GenericAPIServer, error) {
	scheme := newScheme()
	codecs := serializer.NewCodecFactory(scheme)
	certificate, err := dynamiccertificates.NewDynamicServingContentFromFiles("serving", o.certificate, o.key)
	if err != nil {
		return nil, err
	}
	config := server.NewConfig(codecs)
	config.EffectiveVersion = compatibility.DefaultBuildEffectiveVersion()
	config.ExternalAddress = s.listener.Addr().String()
	config.LoopbackClientConfig = &restclient.Config{}
	config.SkipOpenAPIInstallation = true
	config.SecureServing = &server.SecureServingInfo{Listener: s.listener, Cert: certificate}
	config.Authentication.Authenticator = bearertoken.New(authenticator.TokenFunc(s.authenticate))
	config.Authorization.Authorizer = authorizer.AuthorizerFunc(s.authorize)
	config.BuildHandlerChainFunc = func(handler http.Handler, c *server.Config) http.Handler {
		return s.filter(server.DefaultBuildHandlerChain(handler, c))
	}
	made, err := config.Complete(nil).New("kubernetes-server", server.NewEmptyDelegate())
	if err == nil {
		err = install(made, "/api", corev1.SchemeGroupVersion, o, scheme, codecs)
	}
	if err == nil {
		err = install(made, "/apis", discoveryv1.SchemeGroupVersion, o, scheme, codecs)
	}
	return made, err
}
