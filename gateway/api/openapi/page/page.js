// Addresses are relative, so that the page works below any path of a reverse proxy.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#page",
  deepLinking: true,
  validatorUrl: null,
});
