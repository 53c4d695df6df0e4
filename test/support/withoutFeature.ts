/** The adapter as if it lacked a feature; a device of it has none of that either. */
export function withoutFeature(adapter: GPUAdapter, feature: string): GPUAdapter {
  const features = new Set([...adapter.features].filter((name) => name !== feature))
  return new Proxy(adapter, {
    get(target, name) {
      if (name === 'features') return features
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}
