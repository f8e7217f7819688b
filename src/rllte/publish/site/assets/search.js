/* The theme loads the index of the whole site with every page, half of what a page would weigh. Here it waits
   until search is opened for the first time. The index comes as a script from a folder, as JSON from a server. */
(() => {
  const button = () => document.querySelector("[data-md-component=search]");
  const opened = new Promise((open) => {
    const asked = (event) => event.type === "change" ? event.target.dataset.mdToggle === "search"
      : event.type === "click" ? button().contains(event.target)
      : (event.ctrlKey || event.metaKey) && event.key === "k";
    const listen = (event) => {
      if (!asked(event)) return;
      for (const type of ["change", "click", "keydown"]) removeEventListener(type, listen, true);
      open();
      if (event.type === "keydown") { // the theme listens to keys only once it has the index
        event.preventDefault();
        button().click();
      }
    };
    for (const type of ["change", "click", "keydown"]) addEventListener(type, listen, true);
  });
  const append = document.head.appendChild;
  document.head.appendChild = function (node) {
    if (!/\/search\.js$/.test(node.src)) return append.call(this, node);
    opened.then(() => append.call(this, node));
    return node;
  };
  const { open, send } = XMLHttpRequest.prototype;
  XMLHttpRequest.prototype.open = function (method, url, ...rest) {
    this.isIndex = /\/search\.json$/.test(url);
    open.call(this, method, url, ...rest);
  };
  XMLHttpRequest.prototype.send = function (body) {
    if (this.isIndex) opened.then(() => send.call(this, body));
    else send.call(this, body);
  };
})();
