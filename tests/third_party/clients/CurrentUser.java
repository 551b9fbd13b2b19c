// The current user by a session and by an API key, with the generated Java client.
import java.util.Map;
import org.openapitools.client.ApiClient;
import org.openapitools.client.api.IptoApi;

class CurrentUser {
  public static void main(String[] arguments) throws Exception {
    ApiClient client = new ApiClient();
    client.updateBaseUri(System.getenv("ONESELF_URL"));
    IptoApi api = new IptoApi(client);
    Map<String, String> session = Map.of("Authorization", "Bearer " + System.getenv("SESSION"));
    System.out.println(api.iptoGetCurrentUser(session).getData().getEmail());
    Map<String, String> key = Map.of("X-API-Key", System.getenv("API_KEY"));
    System.out.println(api.iptoGetCurrentUser(key).getData().getEmail());
  }
}
