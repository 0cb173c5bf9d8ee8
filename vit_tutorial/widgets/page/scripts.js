// Scripts beside the page's own: a page that was opened by double-click may load
// those, and no other kind of file.

const HERE = globalThis.document?.currentScript?.src;

// The address of a file beside the page's script.
export function beside(name) {
  return new URL(name, HERE ?? document.baseURI).href;
}

// Run the script at an address. what: whom a reader misses if it fails; an Error
// says so.
export function loadScript(address, what) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = address;
    script.onload = () => resolve();
    script.onerror = () => reject(new Error(`${what} could not be loaded`));
    document.head.append(script);
  });
}
