// Context type `S3Object`: an object of a bucket. An init container brings it into the Pod, with a Secret that the item names.
package main

import (
	_ "embed"

	"kubeopencode.io/plugin"
)

var (
	//go:embed schema.json
	schema string
	//go:embed settings.schema.json
	settingsSchema string
)

// Config is an item's config. The host has checked it against schema.json.
type Config struct {
	Bucket    string `json:"bucket"`
	Key       string `json:"key"`
	SecretRef struct {
		Name string `json:"name"`
	} `json:"secretRef"`
}

// Settings are what the installer writes in the Plugin's spec.config.
type Settings struct {
	Image    string `json:"image"`
	Region   string `json:"region"`
	Endpoint string `json:"endpoint"`
}

func init() {
	plugin.Register(plugin.About{
		Name: "S3Object", Version: "0.1.0", Description: "An object of an S3 bucket, brought by an init container",
		Schema: schema, SettingsSchema: settingsSchema, Capabilities: []string{"init-container", "secret"}, DefaultName: "s3-object",
	}, evaluate)
}

func evaluate(config Config, request *plugin.Request) ([]plugin.Action, error) {
	settings, err := plugin.ReadSettings[Settings](request)
	if err != nil {
		return nil, err
	}
	path := ".s3/" + config.Bucket + "/" + config.Key
	secret := config.SecretRef.Name
	env := []plugin.EnvVar{
		plugin.Secret("AWS_ACCESS_KEY_ID", secret, "accessKeyId"),
		plugin.Secret("AWS_SECRET_ACCESS_KEY", secret, "secretAccessKey"),
		plugin.Value("AWS_REGION", settings.Region),
	}
	if settings.Endpoint != "" {
		env = append(env, plugin.Value("AWS_ENDPOINT_URL", settings.Endpoint))
	}
	source, target := "s3://"+config.Bucket+"/"+config.Key, request.Agent.WorkspaceDir+"/"+path
	return []plugin.Action{
		plugin.RunInit(plugin.InitContainer{
			Name: "s3-object", Image: settings.Image, Env: env,
			Command: []string{"aws"}, Args: []string{"s3", "cp", "--only-show-errors", source, target},
		}),
		plugin.InlineBrought(path),
	}, nil
}

func main() {}
