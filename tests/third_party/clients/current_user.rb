# The current user by a session and by an API key, with the generated Ruby client.
require 'openapi_client'

# An API key alone: the client would send an empty Bearer token beside it (sdk/README.md).
def email(scheme)
  configuration = OpenapiClient::Configuration.new
  configuration.scheme, configuration.host = ENV.fetch('ONESELF_URL').split('://')
  configuration.base_path = ''
  configuration.server_index = nil
  yield configuration
  client = OpenapiClient::ApiClient.new(configuration)
  OpenapiClient::IptoApi.new(client).ipto_get_current_user(debug_auth_names: [scheme]).data.email
end

puts(email('session') { |configuration| configuration.access_token = ENV.fetch('SESSION') })
puts(email('apiKey') { |configuration| configuration.api_key['X-API-Key'] = ENV.fetch('API_KEY') })
