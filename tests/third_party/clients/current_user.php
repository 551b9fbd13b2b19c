<?php
// The current user by a session and by an API key, with the generated PHP client.
require 'GuzzleHttp/autoload.php';

use OpenAPI\Client\Api\IptoApi;
use OpenAPI\Client\Configuration;

spl_autoload_register(function (string $class): void {
    $path = str_replace(['OpenAPI\\Client\\', '\\'], ['', '/'], $class);
    require getenv('CLIENT') . "/lib/$path.php";
});

function email(Configuration $configuration): string
{
    $configuration->setHost(getenv('ONESELF_URL'));
    $api = new IptoApi(new GuzzleHttp\Client(), $configuration);
    return $api->iptoGetCurrentUser()->getData()->getEmail();
}

echo email((new Configuration())->setAccessToken(getenv('SESSION'))), "\n";
echo email((new Configuration())->setApiKey('X-API-Key', getenv('API_KEY'))), "\n";
