/**
 * The `requestMiddleware` that docs/CLIENTS.md gives, for the mount `quern`. It is sent into pages as its text, so it needs
 * nothing from outside.
 */
export function makeToQuern(quern) {
  return async (request) => {
    const url = request.url.replace(
      /^https:\/\/(queue\.fal\.run|rest(\.alpha)?\.fal\.ai(?=\/storage))\//,
      `${quern}/`,
    );
    if (!url.startsWith(`${quern}/`)) throw new Error(`Quern does not serve ${url}`);
    return { ...request, url };
  };
}
